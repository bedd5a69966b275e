"""From the start of the process to the first good answer of its readiness check, on a migrated database."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.candidates import READY, Candidate, Name, start


def seconds_to_ready(
    candidates: Sequence[Candidate], database_url: str, log_directory: Path, *, rounds: int
) -> dict[Name, float]:
    """The median of several starts of each; one before them fills the file cache and writes byte code."""
    taken: dict[Name, list[float]] = {candidate.name: [] for candidate in candidates}
    for number in range(rounds + 1):
        for candidate in candidates:
            server = start(candidate, database_url, log_directory)
            try:
                seconds = server.wait_ready(READY)
            finally:
                server.stop()
            if number:
                taken[candidate.name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}
