"""Prometheus metrics at `/metrics`, when `TASKSERVICE_METRICS` is on.

One scrape answers for all workers of a service (`shared_figures`).
"""

import os
import platform
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final

from litestar import Request, Response, get
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from taskservice import __version__
from taskservice.auth.middleware import PUBLIC
from taskservice.auth.tokens import TokenVerifier
from taskservice.database.failures import Failure
from taskservice.database.pool import Pool
from taskservice.observability.shared_figures import Figures, RouteFigures, SharedFigures, total
from taskservice.tasks.replicated_reads import OUTCOMES, ReplicatedReads

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
DATABASE_ERRORS: Final = (*(failure.value for failure in Failure), "pool_exhausted", "turn_timeout")
UNMATCHED: Final = "unmatched"
OTHER: Final = "other"

COUNTERS: Final = {
    "taskservice_database_errors": ("kind", "Database failures, by what they mean."),
    "taskservice_tokens": ("outcome", "Bearer tokens verified, by outcome: `ok` or a problem's code."),
    "taskservice_jwks_fetches": ("outcome", "Fetches of the issuer's keys."),
    "taskservice_replica_reads": (
        "outcome",
        "Reads that may go to a replica: `replica` answered; `behind`, `failed`, `left_out`: the primary did.",
    ),
}
"""Label and description of each counter with one label."""


class Metrics(Collector):
    """Counts requests cheaply, and builds the metric families only for a scrape."""

    def __init__(self, pool: Pool, verifier: TokenVerifier, reads: ReplicatedReads | None = None) -> None:
        self._pool = pool
        self._reads = reads
        self._verifier = verifier
        self._shared = SharedFigures()
        # By method, route and status: how many requests fell into each bucket, and at the end their seconds.
        self._requests: dict[tuple[str, str | None, int], list[float]] = {}
        self.registry: Final = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def share(self, workers: int) -> None:
        """Called once, before the workers are forked."""
        self._shared = SharedFigures(workers)

    def take_place(self, place: int) -> None:
        """Called by each worker when it starts."""
        self._shared.take_place(place)

    def publish(self) -> None:
        """Share this worker's figures with the others. Called once a second."""
        self._shared.write(self._figures())

    def observe(self, method: str, route: str | None, status: int, seconds: float) -> None:
        figures = self._requests.get((method, route, status))
        if figures is None:
            # Clients can send any number of made-up methods; they must not become a series each.
            key = (method if method in METHODS else OTHER, route, status)
            figures = self._requests.setdefault(key, [0.0] * (len(BUCKETS) + 2))
        figures[bisect_left(BUCKETS, seconds)] += 1
        figures[-1] += seconds

    def collect(self) -> Iterator[Metric]:
        self.publish()
        workers = self._shared.read()
        figures = total(workers)
        yield InfoMetricFamily(
            "taskservice_build",
            "The release that runs.",
            value={"version": __version__, "python": platform.python_version()},
        )
        yield from _request_families(figures.requests)
        connections = GaugeMetricFamily(
            "taskservice_database_connections", "Connections of the workers' pools.", labels=["state"]
        )
        connections.add_metric(["in_use"], figures.gauges["in_use"])
        connections.add_metric(["idle"], figures.gauges["idle"])
        yield connections
        yield GaugeMetricFamily(
            "taskservice_database_waiting", "Requests waiting for a connection.", value=figures.gauges["waiting"]
        )
        for name, (label, description) in COUNTERS.items():
            family = CounterMetricFamily(name, description, labels=[label])
            for value, count in figures.counters[name].items():
                family.add_metric([value], count)
            yield family
        yield from _process_families(workers)

    def _figures(self) -> Figures:
        pool, verifier = self._pool, self._verifier
        keys = verifier.issuer_keys
        return Figures(
            os.getpid(),
            [
                RouteFigures(method, route or UNMATCHED, status, [int(count) for count in figures[:-1]], figures[-1])
                for (method, route, status), figures in self._requests.items()
            ],
            # Known label values start at 0: `rate` does not see the first increment of a new series.
            {
                "taskservice_database_errors": {**dict.fromkeys(DATABASE_ERRORS, 0), **pool.connections.errors},
                "taskservice_tokens": {"ok": 0, **verifier.outcomes},
                "taskservice_jwks_fetches": {"ok": 0, "failed": 0, **(keys.fetches if keys else {})},
                "taskservice_replica_reads": self._reads.outcomes if self._reads else dict.fromkeys(OUTCOMES, 0),
            },
            {"in_use": pool.connections.in_use, "idle": pool.connections.idle, "waiting": pool.waiting},
        )


def _request_families(counted: list[RouteFigures]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "taskservice_http_requests",
        "Requests answered, by route template; `unmatched`: no such route.",
        labels=["method", "route", "status"],
    )
    durations = HistogramMetricFamily(
        "taskservice_http_request_duration_seconds",
        "From the request's head to its answer.",
        labels=["method", "route"],
    )
    of_any_status: dict[tuple[str, str], RouteFigures] = {}
    for one in counted:
        requests.add_metric([one.method, one.route, str(one.status)], sum(one.buckets))
        key = (one.method, one.route)
        of_any_status[key] = of_any_status[key] + one if key in of_any_status else one
    bounds = [*map(str, BUCKETS), "+Inf"]
    for one in of_any_status.values():
        cumulated = list(zip(bounds, accumulate(one.buckets), strict=True))
        durations.add_metric([one.method, one.route], buckets=cumulated, sum_value=one.seconds)
    yield requests
    yield durations


def _process_families(workers: list[Figures]) -> Iterator[Metric]:
    """CPU, memory and files of each worker, by its process id."""
    families: dict[str, Metric] = {}
    for worker in workers:
        collector = ProcessCollector(registry=None, pid=lambda pid=worker.pid: pid)  # type: ignore[misc]
        for family in collector.collect():
            samples = [sample._replace(labels={"worker": str(worker.pid)}) for sample in family.samples]
            families.setdefault(family.name, Metric(family.name, family.documentation, family.type)).samples += samples
    yield from families.values()


@get("/metrics", **PUBLIC, include_in_schema=False, sync_to_thread=False)
def scrape(request: Request[Any, Any, Any]) -> Response[bytes]:
    metrics: Metrics = request.app.state.metrics
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(metrics.registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})
