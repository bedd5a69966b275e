"""Two PostgreSQL servers under Patroni, the etcd that they agree in, and a HAProxy that follows the leader."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import msgspec
import psutil

from bench.postgres import binaries, rows_of
from bench.processes import free_port

PATRONI: Final = ("patroni[etcd3]==4.1.5", "psycopg[binary]==3.3.9")
TTL, LOOP_WAIT = 20, 5
"""Seconds: how long a leader is believed in that says nothing, and how often Patroni looks."""

HAPROXY: Final = """
defaults
    mode tcp
    timeout connect 2s
    timeout client 1m
    timeout server 1m
listen primary
    bind 127.0.0.1:{port}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


class Started:
    """Processes that this program started, to be ended by their ids. Under root they run as `nobody`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def run_as(self) -> dict[str, Any]:
        return {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}

    def start(
        self, name: str, *command: str | Path, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.home, env=environment, start_new_session=True, **self.run_as
            )
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(10)


class Node:
    """One Patroni with its PostgreSQL."""

    def __init__(self, name: str, started: Started, patroni: Path, etcd: int, *, synchronous: bool) -> None:
        self.name = name
        self.port = free_port()
        self.api = free_port()
        self.data = started.home / name
        self._started = started
        self._program = patroni
        self._settings = started.home / f"{name}.json"  # which is YAML, too
        self._settings.write_bytes(msgspec.json.encode(self._configuration(etcd, synchronous)))
        self.patroni: psutil.Process | None = None

    def start(self) -> None:
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self._started.home)}
        process = self._started.start(self.name, self._program, self._settings, environment=environment)
        self.patroni = psutil.Process(process.pid)

    def _configuration(self, etcd: int, synchronous: bool) -> dict[str, Any]:
        account = {"username": "postgres", "password": "bench"}
        return {
            "scope": "bench",
            "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.api}", "connect_address": f"127.0.0.1:{self.api}"},
            "etcd3": {"host": f"127.0.0.1:{etcd}"},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL,
                    "loop_wait": LOOP_WAIT,
                    "retry_timeout": LOOP_WAIT,
                    "synchronous_mode": synchronous,
                    "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": 100}},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data),
                "bin_dir": str(binaries()),
                "authentication": {"superuser": account, "replication": account, "rewind": account},
                "pg_hba": ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"],
                "parameters": {"unix_socket_directories": ""},
            },
        }

    def postgres(self) -> list[psutil.Process]:
        """The postmaster and its children."""
        try:
            postmaster = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
            return [postmaster, *postmaster.children()]
        except (OSError, psutil.NoSuchProcess, ValueError):
            return []

    def everything(self) -> list[psutil.Process]:
        assert self.patroni is not None
        return [self.patroni, *self.postgres()]

    async def role(self) -> str | None:
        """`primary`, `replica`, or None where nobody answers."""
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(trust_env=False, timeout=2) as http:
                status = (await http.get(f"http://127.0.0.1:{self.api}/patroni")).json()
                return str(status["role"]) if status["state"] == "running" else None
        return None

    async def rows(self, statement: str) -> list[Any]:
        return await rows_of(self.url, statement)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"


def send(number: signal.Signals, processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


class Cluster:
    """Both nodes, and the two ways in to whichever of them leads."""

    def __init__(self, nodes: Sequence[Node], haproxy: int) -> None:
        self.nodes = nodes
        self._haproxy = haproxy

    @property
    def several_hosts(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"postgresql://postgres@{hosts}/postgres?sslmode=disable"

    @property
    def through_haproxy(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._haproxy}/postgres?sslmode=disable"

    async def leader(self, seconds: float = 60) -> tuple[Node, Node]:
        """The node that leads, and the other one."""
        async with asyncio.timeout(seconds):
            while True:
                for node, other in zip(self.nodes, reversed(self.nodes), strict=True):
                    if await node.role() == "primary":
                        return node, other
                await asyncio.sleep(0.2)

    async def whole(self, *, synchronous: bool, seconds: float = 90) -> None:
        """Until the standby follows, synchronously if so configured."""
        wanted = {"sync", "quorum"} if synchronous else {"async"}
        async with asyncio.timeout(seconds):
            while True:
                leader, _ = await self.leader()
                with contextlib.suppress(OSError, asyncpg.PostgresError):
                    rows = await leader.rows("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'")
                    if {row["sync_state"] for row in rows} & wanted:
                        return
                await asyncio.sleep(0.2)

    async def switch_over(self) -> None:
        leader, other = await self.leader()
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            wanted = {"leader": leader.name, "candidate": other.name}
            answer = await http.post(f"http://127.0.0.1:{leader.api}/switchover", json=wanted)
            assert answer.status_code == 200, answer.text


@contextlib.contextmanager
def _end(started: Started, nodes: Sequence[Node]) -> Any:
    try:
        yield
    finally:
        for node in nodes:
            if node.patroni is not None:
                send(signal.SIGCONT, node.everything())
        servers = [process for node in nodes for process in node.postgres()]
        started.end()
        send(signal.SIGKILL, [process for process in servers if process.is_running()])


@contextlib.asynccontextmanager
async def running_cluster(patroni: Path, *, synchronous: bool = True) -> AsyncIterator[Cluster]:
    home = Path(tempfile.mkdtemp(prefix="failover-"))
    home.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(home, "nobody")
    started = Started(home)
    etcd, peers, haproxy = free_port(), free_port(), free_port()
    nodes = [Node(name, started, patroni, etcd, synchronous=synchronous) for name in ("one", "two")]
    try:
        with _end(started, nodes):
            started.start(
                "etcd", "etcd", "--data-dir", home / "etcd", "--log-level", "error",
                "--listen-client-urls", f"http://127.0.0.1:{etcd}",
                "--advertise-client-urls", f"http://127.0.0.1:{etcd}",
                "--listen-peer-urls", f"http://127.0.0.1:{peers}",
                "--initial-advertise-peer-urls", f"http://127.0.0.1:{peers}",
                "--initial-cluster", f"default=http://127.0.0.1:{peers}",
            )  # fmt: skip
            servers = "\n".join(f"    server {node.name} 127.0.0.1:{node.port} check port {node.api}" for node in nodes)
            settings = home / "haproxy.cfg"
            settings.write_text(HAPROXY.format(port=haproxy, servers=servers))
            program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
            assert program is not None
            started.start("haproxy", program, "-db", "-f", settings)
            cluster = Cluster(nodes, haproxy)
            nodes[0].start()
            await cluster.leader()
            nodes[1].start()
            await cluster.whole(synchronous=synchronous)
            yield cluster
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def installed_patroni() -> Any:
    """Patroni in a virtual environment of its own that is thrown away; gives its program."""
    with tempfile.TemporaryDirectory(prefix="patroni-") as directory:
        Path(directory).chmod(0o755)
        home = Path(directory) / "venv"
        uv = [sys.executable, "-m", "uv", "--quiet"]
        # The system's: another one may be in root's home, where `nobody` cannot run it.
        python = shutil.which("python3", path="/usr/bin") or sys.executable
        subprocess.run([*uv, "venv", "--python", python, home], check=True)
        subprocess.run([*uv, "pip", "install", "--python", home / "bin" / "python", *PATRONI], check=True, timeout=300)
        yield home / "bin" / "patroni"
