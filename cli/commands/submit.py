"""`batchchat submit`: run a file of requests."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.commands.takes_rows import takes_rows
from batchchat.cli.terminal import options, paths, streams, table_options
from batchchat.cli.terminal.options import Format, Priority
from batchchat.cli.terminal.row_arguments import RowArguments

if TYPE_CHECKING:
    from batchchat.cli.backends.protocol import Backend


_Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Where to write the results: a file, s3://bucket/prefix/, or - for"
        " stdout.",
    ),
]
_Wait = Annotated[
    bool,
    typer.Option(
        "--wait/--no-wait",
        help="Run the batch to its end, or only submit it.",
    ),
]
_Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        max=2**63 - 1,
        help="Default seed for requests without one.",
    ),
]
_Metadata = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE", help="Attach metadata to the batch (repeatable)."
    ),
]
_Priority = Annotated[Priority, typer.Option(help="Scheduling priority on a cluster.")]


@takes_rows
def submit(
    files: options.Files,
    model: options.Model = None,
    output: _Output = None,
    format_: options.OutputFormat = None,
    wait: _Wait = True,
    seed: _Seed = None,
    metadata: _Metadata = None,
    completion_window: options.CompletionWindow = None,
    priority: _Priority = Priority.NORMAL,
    on_invalid: options.OnInvalidOption = None,
    max_cost: options.MaxCost = None,
    engine: options.EngineArguments = None,
    engines: options.Engines = None,
    gpus: options.Gpus = None,
    reuse: options.Reuse = None,
    reuse_across_engines: options.ReuseAcrossEngines = False,
    columns: table_options.Columns = None,
    response: table_options.Response = None,
    only: table_options.OnlyOption = None,
    progress: options.Progress = True,
    json: options.Json = False,
    *,
    rows: RowArguments,
) -> int:
    """Run a file of requests or rows, and write the results.

    The requests run in this process, unless BATCHCHAT_URL or BATCHCHAT_BROKER is set.

    batchchat submit requests.jsonl --model demo --output results.jsonl
    """
    from batchchat.cli.backends.engine_options import engine_options
    from batchchat.cli.backends.open import open_backend
    from batchchat.cli.backends.resolve import reuse_names
    from batchchat.cli.backends.run import RunOptions, announce, run_batch
    from batchchat.cli.commands.request_source import open_batch_input
    from batchchat.jobs.ledger.batch_options import BatchOptions
    from batchchat.jobs.ledger.table_options import TableOptions

    format_ = options.output_format(output, format_)
    to_stdout = output == "-"
    if to_stdout and (json or not wait or format_ is not Format.JSONL):
        _refuse_stdout()
    backend = open_backend()
    backend.use_engine(engine_options(engine, engines, gpus))
    if model is not None:
        backend.check_model(model, max_cost)
    if wait:
        backend.check_engine(model)
    row_options = rows.options()
    if row_options is not None and model is None:
        row_options.require_model()
    path, url = _output_target(backend, files, output, format_)
    batch_options = BatchOptions(
        model=model,
        seed=seed,
        on_invalid=on_invalid or backend.default_on_invalid,
        completion_window=completion_window or backend.default_completion_window,
        metadata=options.parse_metadata(metadata),
        output=str(path) if path else None,
        destination=url,
        output_format=format_,
        priority=priority,
        max_cost=max_cost,
        rows=row_options,
        reuse=reuse_names(backend, reuse),
        reuse_across_engines=reuse_across_engines,
        table=table_options.table_options(columns, response, only) or TableOptions(),
    )
    wanted = batch_options.table.columns
    with open_batch_input(files, rows, row_options, wanted) as input_file:
        batch_id = backend.submit(input_file, batch_options, show_progress=progress)
    announce(backend, batch_id, to_stderr=to_stdout or json)
    if not wait:
        streams.hint(_next_step(backend, batch_id))
        return 0
    run_options = RunOptions(
        show_progress=progress, print_json=json, print_results=to_stdout
    )
    return run_batch(backend, batch_id, run_options)


def _next_step(backend: "Backend", batch_id: str) -> str:
    """Return how to continue with a batch that was only submitted."""
    blocked = backend.blocked_reason(backend.get(batch_id))
    next_step = backend.next_hint(batch_id)
    return f"{blocked}; then {next_step}" if blocked else next_step


def _refuse_stdout() -> None:
    from batchchat.jobs.errors import UsageError

    raise UsageError(
        "`--output -` can't be combined with `--json`, `--no-wait` or Parquet",
        hint="write the results to a file: `--output results.jsonl`",
    )


def _output_target(
    backend: "Backend", files: list[str], output: str | None, format_: Format
) -> tuple[Path | None, str | None]:
    """Return `--output` as a path on this machine or as a URL, and check it.

    Raises:
        OutputError: the results can't be written there.

    """
    from batchchat.jobs.storage.urls import is_url

    if output is not None and is_url(output):
        return None, backend.destination(output)
    path = paths.absolute_output(output)
    if path is not None:
        from batchchat.cli.terminal.input_file import refuse_to_overwrite
        from batchchat.jobs.results.export import check_output

        for file in files:
            refuse_to_overwrite(file, path, format_)
        check_output(path, format_)
    return path, None
