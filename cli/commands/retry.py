"""`batchchat retry`: run what failed as a new batch."""

from typing import Annotated

import typer

from batchchat.cli.terminal import options, paths

_Merge = Annotated[
    bool,
    typer.Option(
        "--merge",
        help="Also write the results that the original batch has, in the order of its"
        " input.",
    ),
]


def retry(
    batch_id: options.BatchId,
    output: options.Output = None,
    format_: options.OutputFormat = None,
    merge: _Merge = False,
    max_cost: options.MaxCost = None,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Retry failed and unfinished requests as a new batch.

    batchchat retry batch_0199… --output all.jsonl --merge
    """
    if merge and output in {None, "-"}:
        from batchchat.jobs.errors import UsageError

        raise UsageError(
            "`--merge` requires a file to write to", hint="name it with `--output PATH`"
        )
    from batchchat.cli.backends.batch_view import LocalOutput
    from batchchat.cli.backends.protocol import RetryOptions
    from batchchat.cli.backends.resolve import open_batch
    from batchchat.cli.backends.run import RunOptions, announce, run_batch

    format_ = options.output_format(output, format_)
    backend, batch_id = open_batch(batch_id)
    local_output = None
    if (path := paths.absolute_output(output)) is not None:
        from batchchat.jobs.results.export import check_output

        local_output = LocalOutput(path, format_)
        check_output(*local_output)
    new_id = backend.retry(
        batch_id, local_output, RetryOptions(max_cost=max_cost, merge=merge)
    )
    announce(backend, new_id, to_stderr=json)
    run_options = RunOptions(show_progress=progress, print_json=json)
    return run_batch(backend, new_id, run_options)
