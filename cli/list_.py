"""`batchchat list`: the batches, newest first."""

from itertools import islice
from typing import Annotated

import typer

from cli import options, terminal
from cli.text import count, moment


def list_batches(
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="At most so many.")
    ] = 20,
    json: options.Json = False,
) -> int:
    """List the batches, newest first.

    batchchat list --limit 5
    """
    from cli.session import open_session
    from jobs.batch_object import batch_object

    session = open_session()
    batches = list(islice(session.ledger.batches(), limit + 1))
    states = [session.state(batch.id) for batch in batches[:limit]]
    if json:
        data = [batch_object(state) for state in states]
        ids = [state.batch.id for state in states]
        terminal.out_json(
            {
                "object": "list",
                "data": data,
                "first_id": ids[0] if ids else None,
                "last_id": ids[-1] if ids else None,
                "has_more": len(batches) > limit,
            }
        )
        return 0
    if not states:
        terminal.hint("hand in a file with `batchchat submit requests.jsonl`")
    for state in states:
        counts = state.counts()
        done = f"{count(counts.completed + counts.failed)} / {count(counts.total)}"
        when = moment(state.batch.created_at)
        failed = f"  {count(counts.failed)} failed" if counts.failed else ""
        terminal.out(f"{state.batch.id}  {state.status:<11}  {when}  {done}{failed}")
    return 0
