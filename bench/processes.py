"""A server process under measurement: started on a free port, watched through the operating system, ended by its id."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).parent.parent
READY_WITHIN = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One candidate's process with its children. `cpu_seconds` and `resident_bytes` count the whole family."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str], port: int, log: Path) -> None:
        self.name = name
        self.port = port
        self.log = log
        # Only what a program needs to find itself: settings of the developer's shell must not reach one candidate.
        inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR") if key in os.environ}
        self.started_at = time.perf_counter()
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command, cwd=REPOSITORY, env={**inherited, **environment}, stdout=output, stderr=output
            )
        self._process = psutil.Process(self._popen.pid)

    def wait_ready(self, path: str) -> float:
        """Seconds from process start to the first 200 of `path`."""
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        while time.perf_counter() - self.started_at < READY_WITHIN:
            if self._popen.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                    connection.sendall(request)
                    if b" 200 " in connection.recv(64):
                        return time.perf_counter() - self.started_at
            except OSError:
                pass
            time.sleep(0.005)
        self.stop()
        raise RuntimeError(f"{self.name} did not become ready:\n{self.log.read_text(errors='replace')[-3000:]}")

    def family(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        times = [process.cpu_times() for process in self.family()]
        return sum(time.user + time.system for time in times)

    def wait_idle(self) -> None:
        """Until it has finished what was asked of it: no CPU time spent for a little while."""
        deadline = time.perf_counter() + 10
        spent = -1.0
        while spent < (spent := self.cpu_seconds()) and time.perf_counter() < deadline:
            time.sleep(0.05)

    def resident_bytes(self) -> int:
        return sum(int(process.memory_info().rss) for process in self.family())

    def proportional_bytes(self) -> int:
        """What processes share counts once: workers that are forked share what was loaded before."""
        return sum(int(process.memory_full_info().pss) for process in self.family())

    @property
    def pid(self) -> int:
        return self._popen.pid

    def stop(self) -> None:
        if self._popen.poll() is not None:
            return
        family = self.family()
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            for process in family:
                if process.is_running():
                    process.kill()
            self._popen.wait(10)
