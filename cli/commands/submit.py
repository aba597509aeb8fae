"""`batchchat submit`: hand in a file, get every answer."""

from pathlib import Path
from typing import Annotated

import typer

from batchchat.cli.terminal import options, paths
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.options import Format, OnInvalid, Priority, Window


def submit(
    file: options.File,
    model: options.Model = None,
    output: options.Output = None,
    format_: options.OutputFormat = Format.JSONL,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Run it now, or only hand it in."),
    ] = True,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=2**63 - 1, help="Of requests that bring none."
        ),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="KEY=VALUE", help="Noted on the batch."),
    ] = None,
    window: Annotated[
        Window, typer.Option("--completion-window", help="By when it must be done.")
    ] = Window.DAY,
    priority: Annotated[
        Priority, typer.Option(help="Of batches that wait for a worker.")
    ] = Priority.NORMAL,
    on_invalid: Annotated[
        OnInvalid,
        typer.Option(help="With bad lines: refuse the file, or run the others."),
    ] = OnInvalid.FAIL,
    max_cost: options.MaxCost = None,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Run a file of requests and write every answer.

    batchchat submit requests.jsonl --model demo --output results.jsonl
    """
    from batchchat.cli.backends.open import open_batches
    from batchchat.cli.backends.run import Wish, run_batch
    from batchchat.cli.terminal.input_file import (
        input_of,
        open_input,
        refuse_to_overwrite,
    )
    from batchchat.jobs.errors import UsageError
    from batchchat.jobs.ledger.submission import Options
    from batchchat.jobs.storage.urls import is_url

    if output == "-" and (json or not wait or format_ is not Format.JSONL):
        raise UsageError(
            "`--output -` prints JSONL, alone and at once",
            hint="name a file with `--output`",
        )
    batches = open_batches()
    if model is not None:
        batches.check_model(model, options.dollars(max_cost))
    destination = wanted = None
    if output is not None and is_url(output):
        destination = batches.destination(output)
    else:
        wanted = paths.absolute(output)
    if wanted is not None:
        from batchchat.jobs.results.export import check_output

        refuse_to_overwrite(file, Path(wanted), format_)
        check_output(Path(wanted), format_)
    asked = Options(
        model=model,
        seed=seed,
        on_invalid=on_invalid,
        completion_window=window,
        metadata=options.pairs(metadata),
        output=wanted,
        destination=destination,
        output_format=format_,
        priority=priority,
        max_cost=options.dollars(max_cost),
    )
    with open_input(file) as stream:
        batch_id = batches.submit(input_of(file, stream), asked, shown=progress)
    to_stdout = output == "-"
    if to_stdout or json:
        terminal.say(batch_id)
    else:
        terminal.out(batch_id)
    if not wait:
        terminal.hint(batches.next_step(batch_id))
        return 0
    wish = Wish(progress=progress, json=json, to_stdout=to_stdout)
    return run_batch(batches, batch_id, wish)
