"""`batchchat worker`: run shards of one model for a cluster."""

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
        str, typer.Option("--model", "-m", help="Catalog name, hub id, or a folder.")
    ],
    restart: Annotated[
        bool,
        typer.Option(
            "--restart/--no-restart",
            help="Start again after the engine died, or leave that to others.",
        ),
    ] = True,
    simulate: Annotated[
        float | None,
        typer.Option(
            metavar="TOKENS",
            min=0.1,
            help="Answer noise at TOKENS a second for each request, without vLLM:"
            " only to test a cluster under load.",
        ),
    ] = None,
) -> int:
    """Load a model, then run shards until told to end (Ctrl-C, SIGTERM).

    BATCHCHAT_BROKER=redis://localhost:6379/0 batchchat worker --model demo
    """
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.commands.daemon import broker_of, log_to_stderr
    from batchchat.jobs.errors import EngineStartError
    from batchchat.workers.shards.exit_codes import ENGINE_DEAD

    log_to_stderr()
    session = open_session()
    broker = broker_of(session.settings)
    found = session.catalog.find(model)
    if restart:
        from batchchat.workers.shards.supervisor import Supervisor

        command = [sys.executable, "-P", "-m", "batchchat", "worker", "--model", model]
        speed = [] if simulate is None else ["--simulate", str(simulate)]
        return Supervisor([*command, *speed, "--no-restart"]).run()
    from batchchat.workers.shards.worker_process import Worker

    try:
        engine = _engine(session, found, simulate)
    except EngineStartError as error:  # what an engine left on a GPU may go away yet
        _log.error("%s", error.message)
        return ENGINE_DEAD
    storage = session.ledger.storage
    return Worker(storage, session.settings, broker, found, engine).run()


def _engine(
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
