"""Resident memory of a worker: when it is ready, and after many requests of every kind."""

import math
import time
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
PEER_SECONDS = 15.0
"""For one kind of request: a slow peer serves fewer of them."""
FOUR_WORKERS_SECONDS = 5.0
"""Of load by each kind of request."""


class Memory(msgspec.Struct, frozen=True):
    """In bytes."""

    requests: int
    at_start: int
    afterwards: int


def resident(candidate: Candidate, server: Server, world: World, *, requests: int = REQUESTS) -> Memory:
    """Serves that many requests of all kinds, most of them cheap ones."""
    at_start = server.resident_bytes()
    able = [operation for operation in ALL if operation.offered_by(candidate)]
    expensive = [SHARE[operation.name] for operation in able if operation.name in SHARE]
    share_of_others = (1 - sum(expensive)) / (len(able) - len(expensive))
    patience = math.inf if candidate is SERVICE else PEER_SECONDS
    served = 0
    for operation in able:
        wanted, done = requests * SHARE.get(operation.name, share_of_others), 0
        until = time.monotonic() + patience
        while done < wanted and time.monotonic() < until:
            prepared = operation.requests(world, server.port)
            done += put_under_load(server.port, prepared, connections=CONNECTIONS, seconds=1).requests
        served += done
    return Memory(served, at_start, server.resident_bytes())


def of_four_workers(database_url: str, world: World, logs: Path) -> int:
    """Memory of the service with four workers and the process that watches them, after requests of every kind."""
    four = msgspec.structs.replace(SERVICE, program=lambda port: (*SERVICE.program(port), "--wc", "4"))
    with running(four, database_url, logs) as server:
        for operation in QUICK:
            prepared = operation.requests(world, server.port)
            put_under_load(server.port, prepared, connections=CONNECTIONS, seconds=FOUR_WORKERS_SECONDS)
        return server.proportional_bytes()
