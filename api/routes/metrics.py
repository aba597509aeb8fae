"""GET /metrics in Prometheus's format: the server and its runner.

Metrics name no projects: an operator who reads them need not see who uses the server.
"""

from collections import Counter as Tally
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from batchchat.api.context import AppContext
from batchchat.jobs.errors import BatchchatError
from batchchat.workers.local.runner_process import RunnerProcess

router = APIRouter(tags=["operations"])

_LATENCY_BUCKETS_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "content": {
                CONTENT_TYPE_LATEST.partition(";")[0]: {"schema": {"type": "string"}}
            }
        }
    },
)
def metrics(request: Request) -> Response:
    """Return metrics in Prometheus's text format."""
    registry: Metrics = request.app.state.metrics
    return Response(registry.text(), media_type=CONTENT_TYPE_LATEST)


class Metrics:
    """The metrics of one server."""

    def __init__(self, context: AppContext, runner: RunnerProcess | None) -> None:
        """Start all counters at zero."""
        self._registry = CollectorRegistry()
        self._registry.register(_QueueCollector(context))
        if runner is not None:
            self._registry.register(_RunnerCollector(runner))
        self._requests = Counter(
            "batchchat_http_requests",
            "HTTP requests, by method, route and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "batchchat_http_request_seconds",
            "Seconds until the response began.",
            ["route"],
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=self._registry,
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record a request; `seconds` is the time until its response began."""
        self._requests.labels(method, route, f"{status}").inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class _QueueCollector(Collector):
    """Collects the number of unfinished batches."""

    def __init__(self, context: AppContext) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        try:
            active = len(list(self._context.active))
        except BatchchatError:
            yield _gauge("storage_up", "Whether the storage is reachable.", 0)
            return
        yield _gauge("storage_up", "Whether the storage is reachable.", 1)
        yield _gauge("active_batches", "Unfinished batches.", active)


class _RunnerCollector(Collector):
    """Collects what the runner reports; its counters restart with it."""

    def __init__(self, runner: RunnerProcess) -> None:
        self._runner = runner

    def collect(self) -> Iterator[Metric]:
        status = self._runner.status
        yield _gauge(
            "runner_up", "Whether the runner process is alive.", self._runner.is_alive
        )
        yield _counter(
            "runner_starts",
            "Times the runner process was started.",
            self._runner.starts,
        )
        loaded = GaugeMetricFamily(
            "batchchat_engine_loaded",
            "Engines in which a model is loaded.",
            labels=["model"],
        )
        for model, engines in sorted(Tally(status.get("models") or ()).items()):
            loaded.add_metric([model], engines)
        yield loaded
        speed = status.get("tokens_per_second") or 0
        yield _gauge(
            "tokens_per_second", "Output tokens per second of the running batch.", speed
        )
        yield from _totals(status.get("stats") or {})


def _totals(totals: dict[str, Any]) -> Iterator[Metric]:
    """Yield the runner's totals since it was started."""
    for name, text, label in (
        ("batches_ended", "Ended batches, by status.", "status"),
        ("requests_done", "Processed requests, by result.", "result"),
        ("tokens", "Tokens processed, by direction (input or output).", "direction"),
    ):
        family = CounterMetricFamily(f"batchchat_{name}", text, labels=[label])
        for value, number in sorted(Tally(totals.get(name) or {}).items()):
            family.add_metric([value], number)
        yield family
    cost = float(totals.get("cost", 0))
    yield _counter(
        "cost_dollars",
        "Estimated cost of ended batches at catalog prices, in US dollars.",
        cost,
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"batchchat_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"batchchat_{name}", text, value=value)
