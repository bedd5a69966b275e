"""Resident memory of a worker: when it is ready, and after many requests of every kind."""

from pathlib import Path

import msgspec

from bench.candidates import SERVICE, Candidate, running
from bench.load import put_under_load
from bench.operations import ALL, QUICK, World
from bench.processes import Server
from bench.rounds import CONNECTIONS

REQUESTS = 100_000
# Long lists make memory grow more than anything else; they are in the mix, but must not make it last for hours.
SHARE = {"list 1000": 0.01, "batch of 100": 0.01, "list 100": 0.1, "list filtered and sorted": 0.1, "changes": 0.02}
SLICE_SECONDS = 5.0


class Memory(msgspec.Struct, frozen=True):
    """In bytes."""

    requests: int
    at_start: int
    afterwards: int


def resident(candidate: Candidate, server: Server, world: World, *, requests: int = REQUESTS) -> Memory:
    """Serves at least that many requests, the cheap kinds most of the time."""
    at_start = server.resident_bytes()
    able = [operation for operation in ALL if operation.offered_by(candidate)]
    cheap = [operation for operation in able if operation.name not in SHARE]
    served = 0
    for operation in able:
        if operation.name in SHARE:
            wanted = requests * SHARE[operation.name]
            done = 0
            while done < wanted:
                prepared = operation.requests(world, server.port)
                done += put_under_load(server.port, prepared, connections=CONNECTIONS, seconds=1).requests
            served += done
    while served < requests:
        for operation in cheap:
            prepared = operation.requests(world, server.port)
            served += put_under_load(server.port, prepared, connections=CONNECTIONS, seconds=SLICE_SECONDS).requests
    return Memory(served, at_start, server.resident_bytes())


def of_four_workers(database_url: str, world: World, logs: Path) -> int:
    """Memory of the service with four workers and the process that watches them, after requests of every kind."""
    four = msgspec.structs.replace(SERVICE, program=lambda port: (*SERVICE.program(port), "--wc", "4"))
    with running(four, database_url, logs) as server:
        for operation in QUICK:
            prepared = operation.requests(world, server.port)
            put_under_load(server.port, prepared, connections=CONNECTIONS, seconds=SLICE_SECONDS)
        return server.proportional_bytes()
