"""Load on one server for a while, and what it cost. `wrk` when the machine has it, else a generator of our own."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import msgspec

from bench.http import connect
from bench.postgres import Postgres
from bench.processes import Server

WRK = shutil.which("wrk")
LONGEST_TURN = 30.0
"""A turn in which too few requests were answered is taken again, twice as long, up to this."""


class Report(msgspec.Struct, frozen=True):
    """What the generator saw. Times in microseconds; `refused` are answers of 400 and above, `broken` got no answer."""

    requests: int
    microseconds: int
    bytes: int
    refused: int
    broken: int
    p50: float
    p99: float
    worst: float

    @property
    def per_second(self) -> float:
        return self.requests * 1e6 / self.microseconds


class Cost(msgspec.Struct, frozen=True):
    """One turn of one candidate: what the clients saw and the server's CPU time per request, in microseconds."""

    report: Report
    cpu: float
    database_cpu: float


def generator() -> str:
    """The name and version of the load generator, for the report."""
    if WRK is None:
        return "bench/load.py"
    first_line = subprocess.run([WRK, "-v"], capture_output=True, text=True, check=False).stdout.splitlines()[0]
    return " ".join(first_line.split()[:2])


def put_under_load(port: int, requests: Sequence[bytes], *, connections: int, seconds: float) -> Report:
    """Send the requests in turn, over and over, from that many keep-alive connections."""
    if WRK is None:
        # In a process of its own, so that its garbage collection and ours do not meet.
        with tempfile.NamedTemporaryFile(suffix=".requests") as file:
            _write(Path(file.name), requests)
            command = [sys.executable, "-m", "bench.load", file.name, str(port), str(connections), str(seconds)]
            output = subprocess.run(command, capture_output=True, check=True, timeout=seconds + 60).stdout
    else:
        with tempfile.NamedTemporaryFile(suffix=".requests") as file:
            _write(Path(file.name), requests)
            # wrk takes whole seconds only with a unit, but `1500ms` is not among them: round up.
            command = [WRK, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
            command += ["-s", str(Path(__file__).with_name("load.lua")), f"http://127.0.0.1:{port}", "--", file.name]
            output = subprocess.run(command, capture_output=True, check=True, timeout=seconds + 90).stdout
    return msgspec.json.decode(output[output.rindex(b'{"requests"') :], type=Report)


def _write(file: Path, requests: Sequence[bytes]) -> None:
    file.write_bytes(b"".join(b"%d\n%s" % (len(raw), raw) for raw in requests))


def _read(file: Path) -> list[bytes]:
    content = file.read_bytes()
    requests, position = [], 0
    while position < len(content):
        start = content.index(b"\n", position) + 1
        position = start + int(content[position : start - 1])
        requests.append(content[start:position])
    return requests


async def generate(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Report:
    """The generator for machines without `wrk`. It costs more than wrk does, but not on the server's account."""
    waiting = cycle(requests)
    opened = await asyncio.gather(*(connect(port) for _ in range(connections)))
    latencies: list[float] = []
    received = refused = broken = 0
    start = time.perf_counter()
    end = start + seconds

    async def one_client(index: int) -> None:
        nonlocal received, refused, broken
        connection = opened[index]
        while (sent := time.perf_counter()) < end:
            try:
                answer = await connection.send(next(waiting))
            except OSError:
                broken += 1
                connection = await connect(port)
                continue
            latencies.append(time.perf_counter() - sent)
            received += len(answer.body)
            refused += answer.status >= 400

    await asyncio.gather(*(one_client(index) for index in range(connections)))
    took = time.perf_counter() - start
    for connection in opened:
        connection.close()
    latencies.sort()
    at = [latencies[int(len(latencies) * share)] * 1e6 for share in (0.5, 0.99)]
    return Report(len(latencies), int(took * 1e6), received, refused, broken, at[0], at[1], latencies[-1] * 1e6)


def measure(server: Server, postgres: Postgres, requests: Sequence[bytes], *, connections: int, seconds: float) -> Cost:
    """One turn: load, and the CPU time it took. Any refused or broken request makes the figures worthless: an error."""
    before, database_before = server.cpu_seconds(), postgres.backend_seconds()
    report = put_under_load(server.port, requests, connections=connections, seconds=seconds)
    server.wait_idle()
    spent, database_spent = server.cpu_seconds() - before, postgres.backend_seconds() - database_before
    if report.refused or report.broken:
        raise RuntimeError(f"{server.name}: {report}\n{server.log.read_text(errors='replace')[-2000:]}")
    if report.requests < connections and seconds < LONGEST_TURN:
        return measure(server, postgres, requests, connections=connections, seconds=seconds * 2)
    # wrk hangs up at the end and does not count what was under way, one request on each connection; the server does
    # that work all the same, and by now has done it.
    served = report.requests + (connections if WRK else 0)
    return Cost(report, spent / served * 1e6, database_spent / served * 1e6)


if __name__ == "__main__":
    _, _file, _port, _connections, _seconds = sys.argv
    _report = asyncio.run(generate(int(_port), _read(Path(_file)), int(_connections), float(_seconds)))
    sys.stdout.buffer.write(msgspec.json.encode(_report))
