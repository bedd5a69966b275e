"""nginx and Caddy as docs/operations/proxies.md configures them, on a free port of this machine."""

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.docs.blocks import blocks_of
from tests.support import needs
from tests.support.tls import make_certificate

PAGE = "docs/operations/proxies.md"
PROXIES = ("nginx", "caddy")

NGINX = """
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    {block}
}}
"""


def _changed(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text, f"{PAGE} no longer says {old}"
        text = text.replace(old, new)
    return text


def _block(language: str) -> str:
    (block,) = [block for block in blocks_of(PAGE) if block.language == language]
    return block.text


def _configured(name: str, directory: Path, port: int, upstream: str) -> list[str]:
    """The command that starts it with the page's configuration; names and files are the only changes."""
    certificate, key = make_certificate(directory, ["localhost"])
    config = directory / f"{name}.conf"
    if name == "nginx":
        block = _changed(
            _block("nginx"),
            ("127.0.0.1:8000", upstream),
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("example.org;", "localhost;"),
            ("/etc/ssl/example.org.pem", str(certificate)),
            ("/etc/ssl/example.org.key", str(key)),
        )
        config.write_text(NGINX.format(directory=directory, block=block), "utf-8")
        return ["nginx", "-c", str(config), "-e", "stderr"]
    block = _changed(
        _block("caddy"),
        ("127.0.0.1:8000", upstream),
        ("example.org {", f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate} {key}"),
    )
    config.write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + block, "utf-8")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]


@contextlib.contextmanager
def running_proxy(name: str, directory: Path, port: int, upstream: str) -> Iterator[Path]:
    """Serves `https://localhost:{port}/todo/`. Gives the certificate that clients have to trust."""
    needs.program(name)
    log = directory / f"{name}.log"
    environment = {"PATH": "/usr/sbin:/usr/bin:/usr/local/bin", "HOME": str(directory)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            _configured(name, directory, port, re.sub(r"^http://", "", upstream)),
            stdout=output, stderr=output, env=environment,
        )  # fmt: skip
    try:
        _wait_until_it_listens(port, process, log)
        yield directory / "authority.pem"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"it does not listen:\n{log.read_text('utf-8')}")
