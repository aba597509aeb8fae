"""`batchchat worker`: load a model and run its requests for a cluster."""

import logging
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from batchchat.cli.backends.session import Session
    from batchchat.jobs.catalog.catalog import Model
    from batchchat.workers.engine.driver import EngineDriver

_log = logging.getLogger(__name__)


def worker(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Model to run: a catalog name, a Hugging Face ID, or a directory.",
        ),
    ],
    restart: Annotated[
        bool,
        typer.Option(
            "--restart/--no-restart", help="Restart the worker if the engine crashes."
        ),
    ] = True,
    simulate: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            min=0.1,
            help="For load tests: generate random text instead of loading the model,"
            " at RATE tokens per second and request.",
        ),
    ] = None,
) -> int:
    """Load a model and run its requests for a cluster.

    Runs until it is stopped with Ctrl-C or SIGTERM.

    BATCHCHAT_BROKER=redis://localhost:6379/0 batchchat worker --model demo
    """
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.commands.daemon import log_to_stderr, require_broker
    from batchchat.jobs.errors import EngineStartError
    from batchchat.workers.shards.exit_codes import ENGINE_DEAD

    log_to_stderr()
    session = open_session()
    broker = require_broker(session.settings)
    found = session.catalog.find(model)
    if restart:
        from batchchat.workers.shards.supervisor import Supervisor

        command = [sys.executable, "-P", "-m", "batchchat", "worker", "--model", model]
        speed = [] if simulate is None else ["--simulate", str(simulate)]
        return Supervisor([*command, *speed, "--no-restart"]).run()
    from batchchat.workers.shards.worker_process import Worker

    try:
        engine = _start_engine(session, found, simulate)
    except EngineStartError as error:  # GPU memory may be freed until the next start
        _log.error("%s", error.message)
        return ENGINE_DEAD
    storage = session.ledger.storage
    return Worker(storage, session.settings, broker, found, engine).run()


def _start_engine(
    session: "Session", model: "Model", simulate: float | None
) -> "EngineDriver":
    from batchchat.jobs.prompts.renderer import load_renderer

    _log.info("loading %s", model.name)
    if simulate is not None:
        from batchchat.workers.engine.echo_core import start_echo

        renderer = load_renderer(model, session.models)
        return start_echo(renderer, per_token=1 / simulate)
    from batchchat.cli.backends.embedded import start_engine

    return start_engine(session, model)
