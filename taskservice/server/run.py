"""`litestar run`, in place of Litestar's own, which passes none of our limits on to the server."""

import contextlib
import errno
import gc
import logging
import os
import resource
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import rich_click as click
from litestar import Litestar
from uvicorn.importer import import_from_string
from uvicorn.supervisors import ChangeReload

import taskservice
from taskservice.database.failures import Unusable
from taskservice.database.server import DatabaseServer
from taskservice.server.announce import announce, progress
from taskservice.server.server import BACKLOG, GRACE_SECONDS, Server, uvicorn_config
from taskservice.server.workers import Beat, Workers
from taskservice.settings import Settings

if TYPE_CHECKING:
    from taskservice.observability.metrics import Metrics

FILES_WANTED: Final = 4096
FILES_MOST: Final = 65536

log: Final = logging.getLogger("taskservice")


# fmt: off
@click.command(name="run")
@click.option("-H", "--host", default="127.0.0.1", show_default=True, envvar="LITESTAR_HOST", help="Address to serve.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, envvar="LITESTAR_PORT",
              help="Port to serve; 0 takes any that is free.")
@click.option(
    "-W", "--wc", "--web-concurrency", "workers", type=click.IntRange(1, 256), default=1, show_default=True,
    envvar=["LITESTAR_WEB_CONCURRENCY", "WEB_CONCURRENCY"], help="Number of worker processes.",
)
@click.option("-r", "--reload", is_flag=True, envvar="LITESTAR_RELOAD", help="Start anew when a file changes.")
@click.option(
    "-R", "--reload-dir", "reload_dirs", type=click.Path(exists=True), multiple=True, envvar="LITESTAR_RELOAD_DIRS",
    help="Directory to watch for changes, in place of the program's.",
)
@click.option("-F", "--fd", "--file-descriptor", type=int, envvar="LITESTAR_FILE_DESCRIPTOR",
              help="Serve this inherited listening socket.")
@click.option("-U", "--uds", "--unix-domain-socket", envvar="LITESTAR_UNIX_DOMAIN_SOCKET",
              help="Serve this Unix socket.")
@click.option("--ssl-certfile", type=click.Path(exists=True), envvar="LITESTAR_SSL_CERT_PATH",
              help="Serve TLS with this certificate.")
@click.option("--ssl-keyfile", type=click.Path(exists=True), envvar="LITESTAR_SSL_KEY_PATH", help="Its key.")
@click.option("--forwarded-allow-ips", envvar="FORWARDED_ALLOW_IPS",
              help="Proxies whose X-Forwarded-* headers say the client's address and scheme; by default none.")
def run(  # noqa: PLR0913 (the options of a command)
    app: Litestar, *, host: str, port: int, workers: int, reload: bool, reload_dirs: tuple[str, ...],
    fd: int | None, uds: str | None, ssl_certfile: str | None, ssl_keyfile: str | None, forwarded_allow_ips: str | None,
) -> None:
    # fmt: on
    """Serve the API."""
    if bool(ssl_certfile) != bool(ssl_keyfile):
        raise click.UsageError("--ssl-certfile and --ssl-keyfile belong together.")
    settings: Settings = app.state.settings
    database: DatabaseServer = app.state.database_server
    metrics: Metrics | None = app.state.metrics
    options: dict[str, Any] = {
        "ssl_certfile": ssl_certfile,
        "ssl_keyfile": ssl_keyfile,
        "proxy_headers": forwarded_allow_ips is not None,
        "forwarded_allow_ips": forwarded_allow_ips,
    }
    with _listening(host, port, fd, uds) as (listener, address), _database(database):
        _raise_file_limit()
        database.workers = workers
        announce(settings, database, address.replace("http:", "https:") if ssl_certfile else address, workers)
        if reload or reload_dirs:
            watched = list(reload_dirs or [str(Path(taskservice.__file__).parent)])
            path = os.environ.get("LITESTAR_APP", "taskservice.asgi:app")
            factory = not isinstance(import_from_string(path), Litestar)
            config = uvicorn_config(path, factory=factory, reload=True, reload_dirs=watched, **options)
            ChangeReload(config, target=Server(config, settings).run, sockets=[listener]).run()
            return
        # The objects loaded so far are never garbage, and workers share memory that the collector does not touch.
        gc.unfreeze()  # the command line has frozen what was loaded first
        gc.collect()
        gc.freeze()
        # Requests leave almost no cycles behind: at the usual threshold of 700, the search takes 5 % of the CPU.
        gc.set_threshold(10_000, 20, 20)
        if metrics is not None:
            metrics.share(workers)

        def serve(place: int = 0, beat: Beat | None = None) -> None:
            def every_second() -> None:
                if beat is not None:
                    beat()
                if metrics is not None:
                    metrics.publish()

            if metrics is not None:
                metrics.take_place(place)
            server = Server(
                uvicorn_config(app, **options), settings, drain_seconds=settings.drain_seconds,
                every_second=every_second, is_worker=beat is not None,
            )  # fmt: skip
            server.run(sockets=[listener])

        if workers == 1:
            serve()
            code = 0
        else:
            patience = settings.drain_seconds + GRACE_SECONDS + 5
            code = Workers(serve, workers, listener, patience=patience).run()
    _end_process(code)


def _end_process(code: int) -> NoReturn:
    """End without Python's wait for threads: those that are left may work for clients that have disconnected."""
    if threading.active_count() > 1:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


@contextlib.contextmanager
def _listening(host: str, port: int, fd: int | None, uds: str | None) -> Iterator[tuple[socket.socket, str]]:
    """The one socket that all workers accept from, and how to reach it."""
    try:
        if fd is not None:
            listener, address = socket.socket(fileno=fd), f"file descriptor {fd}"
        elif uds is not None:
            listener, address = _unix_socket(Path(uds)), f"unix:{uds}"
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
            shown = f"[{host}]" if ":" in host else host
            address = f"http://{shown}:{listener.getsockname()[1]}"
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]  # Python's own text repeats the address
        taken = error.errno == errno.EADDRINUSE and uds is None
        remedy = "; is it running already? --port takes another" if taken else ""
        raise click.ClickException(f"cannot listen on {uds or fd or f'{host}:{port}'}: {reason}{remedy}") from None
    listener.set_inheritable(True)
    try:
        yield listener, address
    finally:
        listener.close()
        if uds is not None:
            Path(uds).unlink(missing_ok=True)


def _unix_socket(path: Path) -> socket.socket:
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()  # left behind by a killed process
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen(BACKLOG)
    return listener


@contextlib.contextmanager
def _database(server: DatabaseServer) -> Iterator[None]:
    """The database, if it is the embedded one, runs before the first worker does and until after the last one."""
    try:
        with progress("starting the embedded PostgreSQL"):
            server.start()
    except Unusable as error:
        raise click.ClickException(str(error)) from None
    try:
        yield
    finally:
        server.stop()


def _raise_file_limit() -> None:
    """Each client and each database connection takes a file descriptor; the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_MOST if hard == resource.RLIM_INFINITY else min(hard, FILES_MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft != resource.RLIM_INFINITY and soft < FILES_WANTED:
        log.warning("only %d files may be open (ulimit -n), so more clients than that cannot be served", soft)
