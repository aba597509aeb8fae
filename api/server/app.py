"""The application: the routes, what guards them, and the document about them."""

from importlib.metadata import version
from typing import Any

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from batchchat.api.batch_view import Shown, WithNews
from batchchat.api.context import Service
from batchchat.api.http.access_log import Trail
from batchchat.api.http.auth import Door
from batchchat.api.http.errors import handle_errors
from batchchat.api.http.rate_limit import Limits
from batchchat.api.routes import batches, files, health, metrics, models, results
from batchchat.api.routes import webhook_endpoints as webhooks
from batchchat.api.routes.metrics import Metrics
from batchchat.workers.cluster_status import Cluster
from batchchat.workers.local.runner_process import RunnerProcess

_ABOUT = """\
OpenAI's Files and Batches on your own GPUs: a program written for OpenAI's Batch API
uses this one by changing `base_url`. What is ours rides in `extra_body` and in extra
fields; `docs/api.md` says it all.
"""

_SAMPLES_AT_ONCE = 4
"""Threads that wait for receivers of samples, so that they take none from the rest."""


def make_app(service: Service, runner: RunnerProcess | None = None) -> FastAPI:
    """Return the application over `service`; `runner` is the one that it has itself."""
    app = FastAPI(
        title="batchchat",
        version=version("batchchat"),
        description=_ABOUT,
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.door = Door(service)
    app.state.limits = Limits(service.settings.requests_per_minute)
    app.state.shown = Shown(_with_news(service, runner))
    app.state.samplers = CapacityLimiter(_SAMPLES_AT_ONCE)
    app.state.runner = runner
    app.state.metrics = Metrics(service, runner)
    app.state.is_closing = lambda: False
    for routes in (files, batches, results, models, webhooks, health, metrics):
        app.include_router(routes.router)
    handle_errors(app)
    app.add_middleware(Trail)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _with_news(service: Service, runner: RunnerProcess | None) -> WithNews:
    """Return what adds the news of whoever runs the batches."""
    if runner is not None:
        return runner.with_news
    if service.settings.broker is not None:
        return Cluster(service.settings.broker).with_news
    return lambda state: state


def _document(app: FastAPI) -> dict[str, Any]:
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
