"""`batchchat results`: print or write the results of a batch."""

from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.terminal import options, paths, streams
from batchchat.cli.terminal.options import Format

if TYPE_CHECKING:
    from batchchat.cli.backends.batch_view import BatchSummary


def results(
    batch_id: options.BatchId,
    output: options.Output = None,
    format_: options.OutputFormat = Format.JSONL,
    errors: Annotated[
        bool, typer.Option("--errors", help="Print the failed requests instead.")
    ] = False,
) -> int:
    """Print the results of a batch, or write them to a file.

    batchchat results batch_0199… --output results.parquet --format parquet
    """
    from batchchat.cli.backends.batch_view import LocalOutput
    from batchchat.cli.backends.open import open_backend
    from batchchat.jobs.errors import UsageError

    path = paths.absolute_output(output)
    if path is None and format_ is not Format.JSONL:
        raise UsageError(
            "can't print Parquet to stdout",
            hint="write it to a file: `--output results.parquet`",
        )
    if path is not None and errors:
        raise UsageError(
            "`--errors` can't be combined with `--output`, which writes the errors too",
            hint="leave out one of them",
        )
    backend = open_backend()
    view = backend.get(batch_id)
    _require_results(view.batch)
    if path is not None:
        for written in backend.export(view, LocalOutput(path, format_)):
            streams.info(f"wrote {streams.style(str(written), 'cyan')}")
        return 0
    file_id = view.batch.error_file_id if errors else view.batch.output_file_id
    if file_id is None:
        streams.info("no failed requests" if errors else "no results")
        return 0
    for chunk in backend.content(file_id):
        streams.print_bytes(chunk)
    return 0


def _require_results(batch: "BatchSummary") -> None:
    """Raise `ConflictError` for a batch that has no results."""
    from batchchat.jobs.errors import ConflictError

    if batch.status == "failed":
        raise ConflictError(
            f"`{batch.id}` has no results, because its input is invalid",
            hint=f"see the problems with `batchchat status {batch.id}`",
        )
    if not batch.is_terminal:
        raise ConflictError(
            f"`{batch.id}` has no results yet: its status is {batch.status}",
            hint=f"see its progress with `batchchat status {batch.id}`",
        )
