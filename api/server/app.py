"""The FastAPI application: routes, authentication, errors and the OpenAPI document."""

from functools import cache
from importlib.metadata import version

from anyio import CapacityLimiter
from fastapi import FastAPI

from batchchat.api.batch_view import AddProgress, BatchView
from batchchat.api.context import AppContext
from batchchat.api.http.access_log import AccessLog
from batchchat.api.http.auth import Authenticator
from batchchat.api.http.errors import add_error_handlers
from batchchat.api.http.json_bodies import JsonBodies
from batchchat.api.http.local_requests import LocalRequests
from batchchat.api.http.rate_limit import RateLimiter
from batchchat.api.http.security_headers import SecurityHeaders
from batchchat.api.http.trailing_slash import TrailingSlash
from batchchat.api.routes import batches, docs, files, health, metrics, models, results
from batchchat.api.routes import webhook_endpoints as webhooks
from batchchat.api.routes.metrics import Metrics
from batchchat.api.server.openapi import openapi_document
from batchchat.workers.cluster_status import ClusterStatus
from batchchat.workers.local.runner_process import RunnerProcess

_DESCRIPTION = """\
OpenAI's Files and Batches API on your own GPUs: a program written for OpenAI's Batch
API works with this server once its `base_url` is changed. Clients set batchchat's own
parameters through `extra_body`, and batchchat's own fields follow OpenAI's in each
object.
"""

_MAX_CONCURRENT_WEBHOOK_TESTS = 4
"""Threads that webhook tests may use, so that slow receivers block no other route."""


def make_app(context: AppContext, runner: RunnerProcess | None = None) -> FastAPI:
    """Return the application; `runner` runs its batches, unless a cluster does."""
    app = FastAPI(
        title="batchchat",
        version=version("batchchat"),
        description=_DESCRIPTION,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.context = context
    app.state.authenticator = Authenticator(context)
    app.state.rate_limiter = RateLimiter(context.settings.requests_per_minute)
    broker = context.settings.broker
    cluster = None if broker is None else ClusterStatus(broker)
    app.state.cluster = cluster
    app.state.batch_view = BatchView(_progress_source(cluster, runner))
    app.state.webhook_test_limiter = CapacityLimiter(_MAX_CONCURRENT_WEBHOOK_TESTS)
    app.state.runner = runner
    app.state.metrics = Metrics(context, runner)
    app.state.is_shutting_down = lambda: False
    for routes in (files, batches, results, models, webhooks, health, docs):
        app.include_router(routes.router)
    if context.settings.metrics:
        app.include_router(metrics.router)
    add_error_handlers(app)
    for middleware in (JsonBodies, LocalRequests, TrailingSlash, AccessLog):
        app.add_middleware(middleware)
    app.add_middleware(SecurityHeaders)
    document = cache(lambda: openapi_document(app))
    app.openapi = document  # type: ignore[method-assign]
    return app


def _progress_source(
    cluster: ClusterStatus | None, runner: RunnerProcess | None
) -> AddProgress:
    """Return what adds the progress reported by the runner or the cluster."""
    if runner is not None:
        return runner.with_progress
    if cluster is not None:
        return cluster.with_progress
    return lambda state: state
