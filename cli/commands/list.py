"""`batchchat list`: list batches, newest first."""

from typing import Annotated

import typer

from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import count, local_time


def list_batches(
    limit: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=10_000, help="Maximum number of batches to list."
        ),
    ] = 20,
    json: options.Json = False,
) -> int:
    """List batches, newest first.

    batchchat list --limit 5
    """
    from batchchat.cli.backends.open import open_backend

    page = open_backend().newest(limit)
    if json:
        streams.print_json(page.as_list())
        return 0
    if not page.views:
        streams.info("no batches")
        streams.hint("submit one with `batchchat submit requests.jsonl --model demo`")
    for view in page.views:
        batch, counts = view.batch, view.batch.request_counts
        done = f"{count(counts.completed + counts.failed)} / {count(counts.total)}"
        failed = f"  {count(counts.failed)} failed" if counts.failed else ""
        created = local_time(batch.created_at)
        streams.print_data(f"{batch.id}  {batch.status:<11}  {created}  {done}{failed}")
    return 0
