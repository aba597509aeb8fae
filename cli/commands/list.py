"""`batchchat list`: the batches, newest first."""

from typing import Annotated

import typer

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.format import count, moment


def list_batches(
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="At most so many.")
    ] = 20,
    json: options.Json = False,
) -> int:
    """List the batches, newest first.

    batchchat list --limit 5
    """
    from batchchat.cli.backends.open import open_batches

    page = open_batches().newest(limit)
    if json:
        terminal.out_json(page.as_list())
        return 0
    if not page.views:
        terminal.hint("hand in a file with `batchchat submit requests.jsonl`")
    for view in page.views:
        batch, counts = view.batch, view.batch.request_counts
        done = f"{count(counts.completed + counts.failed)} / {count(counts.total)}"
        failed = f"  {count(counts.failed)} failed" if counts.failed else ""
        when = moment(batch.created_at)
        terminal.out(f"{batch.id}  {batch.status:<11}  {when}  {done}{failed}")
    return 0
