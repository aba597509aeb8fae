"""`batchchat serve`: serve OpenAI's Files and Batches API on your own GPUs."""

from typing import Annotated

import typer

from batchchat.cli.terminal import options


def serve(
    host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]"
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65_535,
            help="Port to listen on.  [default: 8000]",
        ),
    ] = None,
    engine: options.EngineArguments = None,
    engines: options.Engines = None,
    gpus: options.Gpus = None,
) -> int:
    """Serve OpenAI's Files and Batches API, and run the batches.

    Batches run in this process, or on a cluster if BATCHCHAT_BROKER is set.

    batchchat serve --port 8000
    """
    from batchchat.api.server.main import serve as serve_until_stopped
    from batchchat.cli.backends.engine_options import engine_options
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.commands.daemon import require_broker
    from batchchat.workers.engine.engine_check import check_installed
    from batchchat.workers.local.runner_process import server_slots

    session = open_session()
    chosen = engine_options(engine, engines, gpus)
    if session.settings.broker is None:
        check_installed(session.settings)
    else:
        require_broker(session.settings)
        chosen.refuse()
    given = {"host": host, "port": port}
    update = {name: value for name, value in given.items() if value is not None}
    settings = chosen.settings(session.settings).model_copy(update=update)
    catalog = session.catalog.with_engine(chosen.arguments)
    if settings.broker is None:
        server_slots(settings, catalog)  # an error is reported before anything starts
    serve_until_stopped(settings, catalog, session.ledger.storage)
    return 0
