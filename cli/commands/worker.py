"""`batchchat worker`: load a model and run its requests for a cluster."""

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.terminal import options

if TYPE_CHECKING:
    from batchchat.workers.engine.engine_slots import Slots

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
    engine: options.EngineArguments = None,
    engines: options.Engines = None,
    gpus: options.Gpus = None,
    engine_number: Annotated[int | None, typer.Option(hidden=True)] = None,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart/--no-restart",
            help="Restart the worker if it or its engine crashes.",
        ),
    ] = True,
) -> int:
    """Load a model and run its requests for a cluster.

    Runs until it is stopped with Ctrl-C or SIGTERM.

    BATCHCHAT_BROKER=redis://localhost:6379/0 batchchat worker --model demo
    """
    from batchchat.cli.backends.engine_options import engine_options
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.commands.daemon import (
        check_storage,
        log_to_stderr,
        log_unknown_settings,
        require_broker,
    )
    from batchchat.jobs.errors import EngineStartError
    from batchchat.workers.engine.engine_check import check_engine
    from batchchat.workers.engine.engine_slots import gpus_needed, make_slots, use_slot
    from batchchat.workers.exit_codes import ENGINE_DEAD

    log_to_stderr(engine_number)
    session = open_session()
    broker = require_broker(session.settings)
    chosen = engine_options(engine, engines, gpus)
    found = session.catalog.with_engine(chosen.arguments).find(model)
    check_engine(found, session.models, session.settings)
    settings = chosen.settings(session.settings)
    slots = make_slots(settings.engines, settings.gpus, gpus_needed(found.engine))
    if restart:
        if note := slots.note():
            _log.info("%s", note)
        arguments = [f"--engine={argument}" for argument in engine or []]
        return _supervise(slots, "--model", model, *arguments)
    use_slot(slots)
    log_unknown_settings()
    from batchchat.workers.shards.worker_process import Worker

    storage = session.ledger.storage
    check_storage(storage)  # before a model is loaded
    try:
        _log.info("loading %s", found.name)
        started = session.start_engine(found)
    except EngineStartError as error:  # GPU memory may be freed until the next start
        _log.error("%s", error.message)
        return ENGINE_DEAD
    return Worker(storage, session.settings, broker, found, started).run()


def _supervise(slots: "Slots", *arguments: str) -> int:
    """Keep a worker for each engine running."""
    from batchchat.workers.supervisor import Part, supervise_all, supervisor

    several = len(slots.engines) > 1
    return supervise_all(
        [
            supervisor(
                "worker",
                *arguments,
                "--engines=1",
                *([f"--gpus={','.join(slot.gpus)}"] if slot.gpus else []),
                *([f"--engine-number={slot.number}"] if several else []),
                log_name=f"worker of engine {slot.number}" if several else "worker",
                part=Part(slot.environment(), slot.cores),
            )
            for slot in slots.engines
        ]
    )
