"""`batchchat serve`: OpenAI's Files and Batches on your own GPUs."""

from typing import Annotated

import typer


def serve(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on; 127.0.0.1 at first.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port; 8000 at first.")
    ] = None,
) -> int:
    """Serve OpenAI's Files and Batches, and run the batches.

    batchchat serve --port 8000
    """
    from batchchat.api.server.main import serve as serve_until_stopped
    from batchchat.cli.backends.session import open_session

    session = open_session()
    given = {"host": host, "port": port}
    update = {name: value for name, value in given.items() if value is not None}
    settings = session.settings.model_copy(update=update)
    serve_until_stopped(settings, session.catalog, session.ledger.storage)
    return 0
