"""`batchchat results`: print or write the results of a batch."""

from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.commands import dataset_results
from batchchat.cli.terminal import options, paths, streams, table_options
from batchchat.cli.terminal.format import count
from batchchat.cli.terminal.options import Format

if TYPE_CHECKING:
    from pathlib import Path

    from batchchat.cli.backends.batch_view import LocalOutput
    from batchchat.cli.backends.protocol import Backend
    from batchchat.jobs.ledger.batch_object import BatchObject
    from batchchat.jobs.ledger.table_options import TableOptions

_Errors = Annotated[
    bool, typer.Option("--errors", help="Print the failed requests instead.")
]
_Head = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Print only the first N results.")
]
_Follow = Annotated[
    bool,
    typer.Option("--follow", "-f", help="Print results as they finish, until the end."),
]


def results(
    batch_id: options.BatchId,
    output: options.Output = None,
    format_: options.OutputFormat = None,
    errors: _Errors = False,
    head: _Head = None,
    follow: _Follow = False,
    columns: table_options.Columns = None,
    response: table_options.Response = None,
    only: table_options.OnlyOption = None,
    dataset: dataset_results.Dataset = None,
    force: dataset_results.Force = False,
    push: dataset_results.Push = None,
) -> int:
    """Print the results of a batch, or write them to a file.

    While the batch runs, prints the results that are finished. Results of rows are
    objects with the columns of their row.

    batchchat results batch_0199… --output results.parquet --format parquet
    """
    from batchchat.cli.backends.batch_view import LocalOutput
    from batchchat.cli.backends.print_results import ResultPrinter, Shown
    from batchchat.cli.backends.resolve import open_batch

    is_printing = errors or follow or head is not None
    is_alone = output is None and format_ is None and not is_printing
    dataset_results.check_dataset_options(
        dataset, force=force, push=push, is_alone=is_alone
    )
    format_ = options.output_format(output, format_)
    path = paths.absolute_output(output)
    _check_options(path, format_, is_printing=is_printing)
    backend, batch_id = open_batch(batch_id)
    batch = backend.get(batch_id).batch
    _require_valid_input(batch)
    table = table_options.table_options(columns, response, only)
    if dataset is not None:
        _require_ended(batch)
        return dataset_results.write_results(
            backend, batch, dataset, table, force=force, push=push
        )
    if path is not None:
        return _write(backend, batch, LocalOutput(path, format_), table)
    printer = ResultPrinter(backend, batch, table, Shown(errors, head))
    if batch.is_terminal:
        printer.print_ended(batch)
    elif follow:
        return printer.follow()
    else:
        printer.print_finished()
    return 0


def _check_options(path: "Path | None", format_: Format, *, is_printing: bool) -> None:
    """Raise `UsageError` for options that exclude each other."""
    from batchchat.jobs.errors import UsageError

    if path is None and format_ is not Format.JSONL:
        raise UsageError(
            "can't print Parquet to stdout",
            hint="write it to a file: `--output results.parquet`",
        )
    if path is not None and is_printing:
        raise UsageError(
            "`--errors`, `--head` and `--follow` can't be combined with `--output`,"
            " which writes all results and the errors",
            hint="leave out one of them",
        )


def _write(
    backend: "Backend",
    batch: "BatchObject",
    output: "LocalOutput",
    table: "TableOptions | None",
) -> int:
    from batchchat.cli.backends.report import report_renamed_columns

    _require_ended(batch)
    view = backend.get(batch.id)
    for written in backend.export(view, output, table):
        streams.info("wrote ", streams.Styled(str(written), "cyan"))
    report_renamed_columns(batch, table or batch.table)
    return 0


def _require_valid_input(batch: "BatchObject") -> None:
    """Raise `ConflictError` for a batch that was rejected."""
    from batchchat.jobs.errors import ConflictError

    if batch.status == "failed":
        raise ConflictError(
            f"`{batch.id}` has no results, because its input is invalid",
            hint=f"see the problems with `batchchat status {batch.id}`",
        )


def _require_ended(batch: "BatchObject") -> None:
    """Raise `ConflictError` for a batch that has not ended."""
    from batchchat.jobs.errors import ConflictError

    if not batch.is_terminal:
        counts = batch.request_counts
        done = f"{count(sum(counts.done()))} of {count(counts.total, 'request')}"
        raise ConflictError(
            f"`{batch.id}` has not ended: its status is {batch.status}, {done} are"
            " finished",
            hint=f"print the finished ones with `batchchat results {batch.id}`",
        )
