"""`batchchat results`: read or write the results of a batch."""

from pathlib import Path
from typing import Annotated

import typer

from cli import options, paths, terminal
from cli.options import Format


def results(
    batch_id: options.BatchId,
    output: options.Output = None,
    format_: options.OutputFormat = Format.JSONL,
    errors: Annotated[
        bool, typer.Option("--errors", help="Print the failed requests instead.")
    ] = False,
) -> int:
    """Print the results as JSONL, or write them to a file.

    batchchat results batch_0199… --output results.parquet --format parquet
    """
    from cli.session import open_session
    from jobs.errors import ConflictError, UsageError
    from jobs.export import export

    if output is None and format_ is not Format.JSONL:
        raise UsageError("Parquet goes to a file", hint="name it with `--output`")
    if output is not None and errors:
        raise UsageError(
            "`--errors` prints, and `--output` writes both files",
            hint="leave out one of them",
        )
    session = open_session()
    state = session.ledger.state(batch_id)
    final = state.final
    if final is None:
        raise ConflictError(
            f"`{batch_id}` has no results yet: it is {state.status}",
            hint=f"see how far it is with `batchchat status {batch_id}`",
        )
    path = paths.absolute(output)
    if path is not None:
        for written in export(session.ledger, batch_id, Path(path), format_):
            terminal.say(f"wrote {terminal.paint(str(written), 'cyan')}")
        return 0
    file_id = final.error_file_id if errors else final.output_file_id
    if file_id is None:
        terminal.say("there are none")
        return 0
    for chunk in session.ledger.storage.stream(session.ledger.keys.content(file_id)):
        terminal.out_bytes(chunk)
    return 0
