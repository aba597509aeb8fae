"""`batchchat controller`: plan, dispatch and finalize the batches of a cluster."""

from typing import Annotated

import typer


def controller(
    restart: Annotated[
        bool,
        typer.Option(
            "--restart/--no-restart", help="Restart the controller if it crashes."
        ),
    ] = True,
) -> int:
    """Plan, dispatch and finalize the batches of a cluster.

    Runs until it is stopped with Ctrl-C or SIGTERM. A cluster needs at least one.

    BATCHCHAT_BROKER=redis://localhost:6379/0 batchchat controller
    """
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.commands.daemon import (
        check_storage,
        log_to_stderr,
        log_unknown_settings,
        require_broker,
    )
    from batchchat.jobs.prompts.registry import RendererRegistry
    from batchchat.workers.supervisor import supervise

    log_to_stderr()
    session = open_session()
    broker = require_broker(session.settings)
    if restart:
        return supervise("controller")
    log_unknown_settings()
    from batchchat.workers.control.main import run_controller

    storage = session.ledger.storage
    check_storage(storage)
    # The names on the lines of a batch are untrusted: they are no paths and no hub ids.
    renderers = RendererRegistry(session.catalog.restricted(), session.models)
    return run_controller(storage, session.settings, broker, renderers)
