"""The application: the routes, what guards them, and the document about them."""

from importlib.metadata import version
from typing import Any

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from batchchat.api.batch_view import AddProgress, BatchView
from batchchat.api.context import AppContext
from batchchat.api.http.access_log import AccessLog
from batchchat.api.http.auth import Authenticator
from batchchat.api.http.errors import add_error_handlers
from batchchat.api.http.rate_limit import RateLimiter
from batchchat.api.routes import batches, files, health, metrics, models, results
from batchchat.api.routes import webhook_endpoints as webhooks
from batchchat.api.routes.metrics import Metrics
from batchchat.workers.cluster_status import ClusterStatus
from batchchat.workers.local.runner_process import RunnerProcess

_DESCRIPTION = """\
OpenAI's Files and Batches on your own GPUs: a program written for OpenAI's Batch API
uses this one by changing `base_url`. What is ours rides in `extra_body` and in extra
fields; `docs/api.md` says it all.
"""

_MAX_CONCURRENT_WEBHOOK_TESTS = 4
"""Threads that wait for receivers of samples, so that they take none from the rest."""


def make_app(context: AppContext, runner: RunnerProcess | None = None) -> FastAPI:
    """Return the application over `context`; `runner` is the one that it has itself."""
    app = FastAPI(
        title="batchchat",
        version=version("batchchat"),
        description=_DESCRIPTION,
        redirect_slashes=False,
    )
    app.state.context = context
    app.state.authenticator = Authenticator(context)
    app.state.rate_limiter = RateLimiter(context.settings.requests_per_minute)
    app.state.batch_view = BatchView(_progress_source(context, runner))
    app.state.webhook_test_limiter = CapacityLimiter(_MAX_CONCURRENT_WEBHOOK_TESTS)
    app.state.runner = runner
    app.state.metrics = Metrics(context, runner)
    app.state.is_shutting_down = lambda: False
    for routes in (files, batches, results, models, webhooks, health, metrics):
        app.include_router(routes.router)
    add_error_handlers(app)
    app.add_middleware(AccessLog)
    app.openapi = lambda: _openapi_document(app)  # type: ignore[method-assign]
    return app


def _progress_source(context: AppContext, runner: RunnerProcess | None) -> AddProgress:
    """Return what adds the news of whoever runs the batches."""
    if runner is not None:
        return runner.with_progress
    if context.settings.broker is not None:
        return ClusterStatus(context.settings.broker).with_progress
    return lambda state: state


def _openapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the document without the 422 that FastAPI adds and we never answer."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        for path in document["paths"].values():
            for operation in path.values():
                answers = operation["responses"]
                if "HTTPValidationError" in str(answers.get("422")):
                    del answers["422"]
        schemas = document["components"]["schemas"]
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        app.openapi_schema = document
    return app.openapi_schema
