"""Figures that the workers of one service share, so that each of them can answer a scrape for all.

Each worker has a place in memory that is mapped before the workers are forked, and writes its figures there once a
second. A place has two halves, written in turn with a checksum: a worker that is killed while it writes leaves the
other half intact. The worker that replaces it takes its figures over, so that no counter goes backward.
"""

import mmap
import struct
from collections import Counter
from collections.abc import Mapping
from typing import Final
from zlib import crc32

import msgspec

HALF_BYTES: Final = 256 * 1024
_HEADER: Final = struct.Struct("<QII")
"""Generation, length and checksum of the data that follows."""


class RouteFigures(msgspec.Struct, array_like=True):
    """Requests of one method, route and status."""

    method: str
    route: str
    status: int
    buckets: list[int]
    """How many requests fell into each bucket (up to its bound); the last count is of those beyond the last bound."""
    seconds: float

    def __add__(self, other: "RouteFigures") -> "RouteFigures":
        """Of the method, route and status of this one."""
        buckets = [mine + its for mine, its in zip(self.buckets, other.buckets, strict=True)]
        return RouteFigures(self.method, self.route, self.status, buckets, self.seconds + other.seconds)


class Figures(msgspec.Struct):
    """What one worker has counted, and what it holds now."""

    pid: int
    requests: list[RouteFigures]
    counters: Mapping[str, dict[str, int]]
    """By metric and by the value of its label."""
    gauges: dict[str, int]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Figures).decode


class SharedFigures:
    """One place for each worker."""

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._memory = mmap.mmap(-1, workers * 2 * HALF_BYTES)
        self._place = 0
        self._generation = 0
        self._before: Figures | None = None

    def take_place(self, place: int) -> None:
        """Write to this place from now on, and count on from what the worker before wrote there."""
        self._place = place
        self._generation, self._before = self._read(place)

    def write(self, figures: Figures) -> None:
        if self._before is not None:
            figures = total([self._before, figures], pid=figures.pid, gauges=figures.gauges)
        data = _encode(figures)
        if len(data) > HALF_BYTES - _HEADER.size:
            raise ValueError(f"{len(data)} bytes of figures do not fit")
        self._generation += 1
        start = (self._place * 2 + self._generation % 2) * HALF_BYTES
        header = _HEADER.pack(self._generation, len(data), crc32(data))
        self._memory[start : start + _HEADER.size + len(data)] = header + data

    def read(self) -> list[Figures]:
        """The latest figures of every worker that has written some, in the order of their places."""
        found = (self._read(place)[1] for place in range(self._workers))
        return [figures for figures in found if figures is not None]

    def _read(self, place: int) -> tuple[int, Figures | None]:
        latest, figures = 0, None
        for half in (0, 1):
            start = (place * 2 + half) * HALF_BYTES
            generation, length, checksum = _HEADER.unpack_from(self._memory, start)
            data = self._memory[start + _HEADER.size : start + _HEADER.size + min(length, HALF_BYTES)]
            if generation > latest and crc32(data) == checksum:
                latest, figures = generation, _decode(data)
        return latest, figures


def total(several: list[Figures], *, pid: int = 0, gauges: dict[str, int] | None = None) -> Figures:
    """The sums of counters, and of gauges unless they are given."""
    requests: dict[tuple[str, str, int], RouteFigures] = {}
    counters: dict[str, Counter[str]] = {}
    summed: Counter[str] = Counter()
    for figures in several:
        for one in figures.requests:
            key = (one.method, one.route, one.status)
            requests[key] = requests[key] + one if key in requests else one
        for name, counts in figures.counters.items():
            counters.setdefault(name, Counter()).update(counts)
        summed.update(figures.gauges)
    return Figures(pid, list(requests.values()), counters, summed if gauges is None else gauges)
