"""Prometheus metrics at `/metrics`, when `TASKSERVICE_METRICS` says so.

A scrape reaches one worker, and every series names it by its process id (`worker`): no worker's counters are taken
for another's, and sums over `worker` are right. The answer closes its connection, so that scrapes take turns.
docs/operations/README.md says what that means for queries.
"""

import os
import platform
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, Final, Protocol

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
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
from taskservice.database.failures import Failure

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
DATABASE_ERRORS: Final = (*(failure.value for failure in Failure), "pool_exhausted", "turn_timeout")
"""Told from the start, as 0: a rate cannot see a series' first step."""
UNMATCHED: Final = "unmatched"
OTHER: Final = "other"


class PoolFigures(Protocol):
    """What is asked of the database pool."""

    errors: dict[str, int]

    @property
    def in_use(self) -> int: ...
    @property
    def idle(self) -> int: ...
    @property
    def waiting(self) -> int: ...


class KeyFigures(Protocol):
    """What is asked of the issuer's keys."""

    @property
    def fetches(self) -> Mapping[str, int]: ...


class VerifierFigures(Protocol):
    """What is asked of the token verifier."""

    @property
    def outcomes(self) -> Mapping[str, int]: ...
    @property
    def issuer_keys(self) -> KeyFigures | None: ...


class Metrics(Collector):
    """Counts requests cheaply, and turns everything into families only when somebody asks."""

    def __init__(self, *, pool: PoolFigures, verifier: VerifierFigures) -> None:
        self._pool = pool
        self._verifier = verifier
        # Requests by method, route and status: how many took up to each bucket's bound, longer ones, and the seconds.
        self._requests: dict[tuple[str, str | None, int], list[float]] = {}
        self._process = ProcessCollector(registry=None)
        self.registry: Final = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def observe(self, method: str, route: str | None, status: int, seconds: float) -> None:
        figures = self._requests.get((method, route, status))
        if figures is None:
            # A client can make up methods without end; series for them it must not.
            key = (method if method in METHODS else OTHER, route, status)
            figures = self._requests.setdefault(key, [0.0] * (len(BUCKETS) + 2))
        figures[bisect_left(BUCKETS, seconds)] += 1
        figures[-1] += seconds

    def collect(self) -> Iterator[Metric]:
        worker = {"worker": str(os.getpid())}
        for family in self._families():
            family.samples = [sample._replace(labels=worker | sample.labels) for sample in family.samples]
            yield family

    def _families(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "taskservice_build",
            "The release that runs.",
            value={"version": __version__, "python": platform.python_version()},
        )
        yield from self._request_families()
        yield from self._database_families()
        tokens = CounterMetricFamily(
            "taskservice_tokens", "Bearer tokens verified, by outcome: `ok` or a problem's code.", labels=["outcome"]
        )
        for outcome, count in {"ok": 0, **self._verifier.outcomes}.items():
            tokens.add_metric([outcome], count)
        yield tokens
        keys = self._verifier.issuer_keys
        fetches = CounterMetricFamily("taskservice_jwks_fetches", "Fetches of the issuer's keys.", labels=["outcome"])
        for outcome, count in {"ok": 0, "failed": 0, **(keys.fetches if keys else {})}.items():
            fetches.add_metric([outcome], count)
        yield fetches
        yield from self._process.collect()

    def _request_families(self) -> Iterator[Metric]:
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
        by_route: dict[tuple[str, str], list[float]] = {}
        for (method, route, status), figures in list(self._requests.items()):
            requests.add_metric([method, route or UNMATCHED, str(status)], sum(figures[:-1]))
            so_far = by_route.get((method, route or UNMATCHED))
            by_route[method, route or UNMATCHED] = (
                [one + other for one, other in zip(so_far, figures, strict=True)] if so_far else figures
            )
        bounds = [*map(str, BUCKETS), "+Inf"]
        for (method, route), figures in by_route.items():
            buckets = list(zip(bounds, accumulate(figures[:-1]), strict=True))
            durations.add_metric([method, route], buckets=buckets, sum_value=figures[-1])
        yield requests
        yield durations

    def _database_families(self) -> Iterator[Metric]:
        connections = GaugeMetricFamily(
            "taskservice_database_connections", "Connections of this worker's pool.", labels=["state"]
        )
        connections.add_metric(["in_use"], self._pool.in_use)
        connections.add_metric(["idle"], self._pool.idle)
        yield connections
        yield GaugeMetricFamily(
            "taskservice_database_waiting", "Requests waiting for a connection.", value=self._pool.waiting
        )
        errors = CounterMetricFamily(
            "taskservice_database_errors", "Database failures, by what they mean.", labels=["kind"]
        )
        for kind, count in {**dict.fromkeys(DATABASE_ERRORS, 0), **self._pool.errors}.items():
            errors.add_metric([kind], count)
        yield errors


def metrics_route(metrics: Metrics) -> HTTPRouteHandler:
    @get("/metrics", opt={PUBLIC: True}, include_in_schema=False, sync_to_thread=False)
    def scrape(request: Request[Any, Any, Any]) -> Response[bytes]:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(
            encode(metrics.registry),
            media_type=content_type,
            headers={"Cache-Control": "no-store", "Connection": "close"},
        )

    return scrape
