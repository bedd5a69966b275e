"""Three processes of the service, one with two workers, one behind PgBouncer, on a PostgreSQL with a clock to set.

HAProxy stands in front of them and gives each request to any of them.
"""

import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import psutil

from bench.http import connect, request
from bench.processes import free_port
from bench.reliability.database import KillablePostgres, running_pgbouncer, url_through
from bench.reliability.history.standby import PRIMARY_SETTINGS, Standby, let_standbys_in
from bench.reliability.program import REPOSITORY, Program, running_program
from bench.reliability.wire import Wire
from bench.tokens import SECRET

PAIR, ALONE, POOLED = "two workers", "one worker", "behind PgBouncer"
BALANCED = "any of them, by HAProxy"

HAPROXY: Final = """
defaults
    mode http
    timeout connect 2s
    timeout client 1m
    timeout server 1m
    retries 1
    option redispatch 1
listen service
    bind 127.0.0.1:{port}
    balance random
{servers}
"""
"""Only a connection that could not be made is tried again, at another server: no request is sent twice."""

LIBRARY: Final = "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1"
"""Debian's package `faketime`."""


SLEEP: Final = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""
"""libfaketime refuses the sleep until a moment that Python asks for: a killed worker would end its parent, too."""


class Clock:
    """A wall clock for the service and its database that can be set while they run. Monotonic clocks stay true."""

    def __init__(self, directory: Path) -> None:
        library = Path(LIBRARY.format(os.uname().machine))
        assert library.exists(), "faketime is not installed"
        directory.chmod(0o755)  # PostgreSQL runs as somebody else
        self._file = directory / "clock"
        (directory / "sitecustomize.py").write_text(SLEEP)
        self.environment = {
            "PYTHONPATH": f"{directory}:{REPOSITORY}",
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.step(0)

    def step(self, seconds: int) -> None:
        """So far from the true time. Each process notices within a second."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self._file)


class ClockedPostgres:
    """The running server, begun again under another clock."""

    def __init__(self, postgres: KillablePostgres, clock: Clock) -> None:
        self.postgres = postgres
        self._clock = clock
        postmaster = postgres.postmaster()
        self._command, self._directory = [*postmaster.cmdline(), *PRIMARY_SETTINGS], Path(postmaster.cwd())
        let_standbys_in(self._directory)
        self._user, self._group = postmaster.uids().real, postmaster.gids().real
        self._environment = postmaster.environ() | clock.environment
        self._started: subprocess.Popen[bytes] | None = None

    @property
    def run_as(self) -> dict[str, Any]:
        return {"user": self._user, "group": self._group, "extra_groups": []} if os.geteuid() == 0 else {}

    def new_standby(self, directory: Path, wire: Wire) -> Standby:
        """It follows over the wire, which may be cut."""
        return Standby(directory, self.postgres.postmaster(), wire.port, self.run_as)

    async def stop(self) -> None:
        processes = self._processes()
        processes[0].send_signal(signal.SIGINT)  # a fast shutdown
        await self._wait_for(processes)

    async def kill(self) -> None:
        processes = self._processes()
        self.postgres.kill()
        await self._wait_for(processes)

    async def _wait_for(self, processes: list[psutil.Process]) -> None:
        if self._started is not None:
            await asyncio.to_thread(self._started.wait, 30)
        await asyncio.to_thread(psutil.wait_procs, processes, timeout=30)

    def _processes(self) -> list[psutil.Process]:
        postmaster = self.postgres.postmaster()
        return [postmaster, *postmaster.children()]

    async def start(self) -> None:
        # Of a server that was killed; its process id may be somebody else's by now.
        (self._directory / "postmaster.pid").unlink(missing_ok=True)
        with (self._directory / "clocked.log").open("ab") as log:
            self._started = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,
                **self.run_as,
            )
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(Exception):
                    async with self.postgres.connection():
                        return
                await asyncio.sleep(0.05)


class Fleet:
    """The servers by their names, and the means to break them."""

    def __init__(self, postgres: KillablePostgres, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock(directory)
        self.postgres = ClockedPostgres(postgres, self.clock)
        self.wire = Wire(postgres.socket)
        self._pooler_port = free_port()
        self._pooler = contextlib.AsyncExitStack()
        self._stacks: dict[str, contextlib.AsyncExitStack] = {}
        self.programs: dict[str, Program] = {}
        self.standby: Standby | None = None
        self._balancer_port = free_port()
        self._balancer: subprocess.Popen[bytes] | None = None

    def ports(self) -> dict[str, int]:
        ports = {name: program.port for name, program in self.programs.items()}
        return ports if self._balancer is None else ports | {BALANCED: self._balancer_port}

    async def start_server(self, name: str) -> None:
        socket_url = f"postgresql://taskservice@/taskservice?host={self.postgres.postgres.socket.parent}"
        settings: dict[str, Any] = {
            PAIR: {"database_url": url_through(self.wire.port)},
            ALONE: {"database_url": socket_url},
            POOLED: {
                "database_url": url_through(self._pooler_port),
                "database_direct_url": socket_url,
                "taskservice_database_pooler": "true",
            },
        }[name]
        settings["taskservice_metrics"] = "true"
        if self.standby is not None and name != POOLED:
            settings["database_replica_urls"] = self.standby.url
        settings |= {key.lower(): value for key, value in self.clock.environment.items()}
        workers = "2" if name == PAIR else "1"
        stack = self._stacks[name] = contextlib.AsyncExitStack()
        self.programs[name] = await stack.enter_async_context(running_program("--wc", workers, **settings))

    async def kill_server(self, name: str) -> None:
        """kill -9 of the whole process, and a new one in its place."""
        main = psutil.Process(self.programs[name].process.pid)
        for process in [main, *main.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.programs[name].process.wait(10)
        await self._stacks[name].aclose()
        await self.start_server(name)
        await self.balance()

    def kill_worker(self, chance: random.Random) -> None:
        chance.choice(self.programs[PAIR].workers()).kill()

    async def balance(self) -> None:
        """Let HAProxy know the servers. It is started anew, and its connections break."""
        self._end_balancer()
        servers = [f"    server s{program.port} 127.0.0.1:{program.port}" for program in self.programs.values()]
        settings = self.directory / "haproxy.cfg"
        settings.write_text(HAPROXY.format(port=self._balancer_port, servers="\n".join(servers)))
        program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        assert program is not None, "haproxy is not installed"
        with (self.directory / "haproxy.log").open("ab") as log:
            self._balancer = subprocess.Popen([program, "-db", "-f", settings], stdout=log, stderr=log)
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError):
                    (await connect(self._balancer_port)).close()
                    return
                await asyncio.sleep(0.02)

    def _end_balancer(self) -> None:
        if self._balancer is not None:
            self._balancer.terminate()
            self._balancer.wait(10)

    async def replica_reads(self) -> int:
        """How many answers came from the standby, as the processes count that run now. All of them must run."""
        answers = [await program.once(request("GET", "/metrics", None)) for program in self.programs.values()]
        counted = [re.findall(rb'replica_reads_total{outcome="replica"} (\d+)', answer.body) for answer in answers]
        return sum(int(count) for counts in counted for count in counts)

    async def start_pooler(self) -> None:
        await self._pooler.enter_async_context(running_pgbouncer(self.wire.port, self._pooler_port))

    async def restart_pooler(self) -> None:
        await self._pooler.aclose()
        await self.start_pooler()

    async def purge(self) -> str:
        """`litestar purge`, as an operator runs it; what it said."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "LITESTAR_APP": "taskservice.app:create_app",
            "BETTER_AUTH_SECRET": SECRET,
            "DATABASE_URL": f"postgresql://taskservice@/taskservice?host={self.postgres.postgres.socket.parent}",
        }
        purge = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "litestar", "purge", cwd=self.directory, env=environment | self.clock.environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await purge.communicate()
        assert purge.returncode == 0, said.decode()
        return said.decode()

    async def close(self) -> None:
        self._end_balancer()
        if self.standby is not None:
            await self.standby.close()
        for stack in self._stacks.values():
            await stack.aclose()
        await self._pooler.aclose()
        await self.wire.__aexit__(None, None, None)


@contextlib.asynccontextmanager
async def running_fleet(postgres: KillablePostgres) -> AsyncIterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="fleet-") as home:
        fleet = Fleet(postgres, Path(home))
        await fleet.postgres.stop()
        await fleet.postgres.start()
        try:
            await fleet.wire.mend()
            await fleet.start_pooler()
            fleet.standby = fleet.postgres.new_standby(fleet.directory, fleet.wire)
            await fleet.standby.copy()
            await fleet.standby.start()
            for name in (PAIR, ALONE, POOLED):
                await fleet.start_server(name)
            await fleet.balance()
            yield fleet
        finally:
            await fleet.close()
            await fleet.postgres.stop()
