"""Starts a server: the HTTP application and its background work."""

import logging
import sys

from batchchat.api.context import AppContext, make_context
from batchchat.api.server import descriptors
from batchchat.api.server.app import make_app
from batchchat.api.server.uvicorn_server import Server, is_loopback, listen
from batchchat.api.webhooks.sender import WebhookSender
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import ConfigError
from batchchat.jobs.logs import event_fields, start_logging
from batchchat.jobs.settings import Settings, unknown_settings
from batchchat.jobs.storage import Storage
from batchchat.workers.housekeeping import Housekeeping
from batchchat.workers.local.runner_process import RunnerProcess

_logger = logging.getLogger(__name__)


def serve(settings: Settings, catalog: Catalog, storage: Storage) -> None:
    """Serve until a signal arrives; without a broker, run the batches here, too.

    Raises:
        ConfigError: the address cannot be bound, or other machines could use the server
            without a key.

    """
    loopback_only = is_loopback(settings.host)
    context = make_context(
        settings, catalog.restricted(), storage, loopback_only=loopback_only
    )
    has_keys = context.keys.exist()
    if not loopback_only and not has_keys:
        raise ConfigError(
            f"without API keys, any client that can reach {settings.host} could use"
            " this server",
            hint="create a key with `batchchat keys create`, or listen on 127.0.0.1",
        )
    as_json = not sys.stderr.isatty()
    start_logging(sys.stderr, as_json=as_json)
    for text in unknown_settings():
        _logger.warning("%s", text)
    runner = None
    if settings.broker is None:
        runner = RunnerProcess(
            as_json=as_json,
            engine=catalog.engine,
            engines=settings.engines,
            gpus=settings.gpus,
        )
    descriptors.raise_limit()
    with listen(settings.host, settings.port) as listener:
        if runner is not None:
            runner.start()
        background = (WebhookSender(context), _housekeeping(context))
        for part in background:
            part.start()
        app = make_app(context, runner)
        port = listener.getsockname()[1]
        _log_ready(context, port, runs=runner is not None, has_keys=has_keys)
        try:
            Server(app, settings.grace_seconds).run([listener])
        finally:
            if runner is not None:
                runner.close(settings.grace_seconds)
            for part in background:
                part.close()
            _logger.info("stopped", extra=event_fields("server_stopped"))


def _housekeeping(context: AppContext) -> Housekeeping:
    return Housekeeping(
        context.storage, context.settings, context.ledger, context.local_storage
    )


def _log_ready(context: AppContext, port: int, *, runs: bool, has_keys: bool) -> None:
    settings = context.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{port}/v1"
    keys = "API key required" if has_keys else "no API key required on this machine"
    runner = "runs batches itself" if runs else "batches run on a cluster"
    _logger.info(
        "listening on %s (%s; %s; storage %s)",
        url,
        keys,
        runner,
        context.storage.url,
        extra=event_fields("server_started", url=url, storage=context.storage.url),
    )
