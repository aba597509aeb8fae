"""`batchchat results`: read or write the results of a batch."""

from pathlib import Path
from typing import Annotated

import typer

from batchchat.cli.terminal import options, paths
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.options import Format


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
    from batchchat.cli.backends.batch_view import Delivery
    from batchchat.cli.backends.open import open_batches
    from batchchat.jobs.errors import ConflictError, UsageError

    if output is None and format_ is not Format.JSONL:
        raise UsageError("Parquet goes to a file", hint="name it with `--output`")
    if output is not None and errors:
        raise UsageError(
            "`--errors` prints, and `--output` writes both files",
            hint="leave out one of them",
        )
    batches = open_batches()
    view = batches.get(batch_id)
    batch = view.batch
    if batch.status == "failed" or not batch.is_terminal:
        raise ConflictError(
            f"`{batch_id}` has no results yet: it is {batch.status}",
            hint=f"see how far it is with `batchchat status {batch_id}`",
        )
    path = paths.absolute(output)
    if path is not None:
        for written in batches.export(view, Delivery(Path(path), format_)):
            terminal.say(f"wrote {terminal.paint(str(written), 'cyan')}")
        return 0
    file_id = batch.error_file_id if errors else batch.output_file_id
    if file_id is None:
        terminal.say("there are none")
        return 0
    for chunk in batches.content(file_id):
        terminal.out_bytes(chunk)
    return 0
