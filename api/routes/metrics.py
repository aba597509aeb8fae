"""GET /metrics: what the server and its runner do, as Prometheus reads it.

No project is named: whoever watches the machine need not know who uses it.
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
    """Say how it goes, to Prometheus."""
    held: Metrics = request.app.state.metrics
    return Response(held.text(), media_type=CONTENT_TYPE_LATEST)


class Metrics:
    """The counters of one server."""

    def __init__(self, context: AppContext, runner: RunnerProcess | None) -> None:
        """Count from nothing."""
        self._registry = CollectorRegistry()
        self._registry.register(_QueueCollector(context))
        if runner is not None:
            self._registry.register(_RunnerCollector(runner))
        self._requests = Counter(
            "batchchat_http_requests",
            "Requests answered, by route and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "batchchat_http_request_seconds",
            "Seconds until a request was answered.",
            ["route"],
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=self._registry,
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(method, route, f"{status}").inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)


class _QueueCollector(Collector):
    """The batches that have not ended."""

    def __init__(self, context: AppContext) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        try:
            active = len(list(self._context.active))
        except BatchchatError:
            yield _gauge("storage_up", "Whether the storage answers.", 0)
            return
        yield _gauge("storage_up", "Whether the storage answers.", 1)
        yield _gauge("active_batches", "Batches that have not ended.", active)


class _RunnerCollector(Collector):
    """What the runner says of itself; its counters begin again when it does."""

    def __init__(self, runner: RunnerProcess) -> None:
        self._runner = runner

    def collect(self) -> Iterator[Metric]:
        news = self._runner.status
        yield _gauge("runner_up", "Whether the runner lives.", self._runner.is_alive)
        yield _counter("runner_starts", "Times it was started.", self._runner.starts)
        loaded = GaugeMetricFamily(
            "batchchat_engine_loaded", "The model in the engine.", labels=["model"]
        )
        if news.get("model"):
            loaded.add_metric([news["model"]], 1)
        yield loaded
        speed = news.get("tokens_per_second") or 0
        yield _gauge("tokens_per_second", "Output tokens of the running batch.", speed)
        yield from _totals(news.get("stats") or {})


def _totals(totals: dict[str, Any]) -> Iterator[Metric]:
    """Yield what the runner has done since it was started."""
    for name, text, label in (
        ("batches_ended", "Batches that have ended, by status.", "status"),
        ("requests_done", "Requests that are done, by what came of them.", "result"),
        ("tokens", "Tokens that went in and came out.", "direction"),
    ):
        family = CounterMetricFamily(f"batchchat_{name}", text, labels=[label])
        for value, number in sorted(Tally(totals.get(name) or {}).items()):
            family.add_metric([value], number)
        yield family
    cost = float(totals.get("cost", 0))
    yield _counter("cost_dollars", "What ended batches cost by the catalog.", cost)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"batchchat_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"batchchat_{name}", text, value=value)
