"""`batchchat list`: list batches, newest first."""

import time
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import age, count, dollars, short

if TYPE_CHECKING:
    from batchchat.cli.backends.batch_view import Page, View
    from batchchat.cli.backends.protocol import Backend
    from batchchat.cli.terminal.table import Column

_SHORT_ID = len("batch_") + 12
"""The characters of an ID that hold its time in milliseconds."""

_Limit = Annotated[
    int,
    typer.Option(
        "--limit",
        "-n",
        metavar="N",
        min=1,
        max=10_000,
        help="Maximum number of batches to list.",
    ),
]
_Status = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help="List only batches with this status, such as in_progress (repeatable).",
    ),
]
_Metadata = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="List only batches with this metadata (repeatable; all must match).",
    ),
]


def list_batches(
    limit: _Limit = 20,
    status: _Status = None,
    metadata: _Metadata = None,
    json: options.Json = False,
) -> int:
    """List batches, newest first.

    Shows the model, tokens and cost of each batch, and what runs it.

    batchchat list --status in_progress --metadata team=search
    """
    from batchchat.cli.backends.open import open_backend
    from batchchat.jobs.ledger.batch_filter import BatchFilter

    wanted = BatchFilter(
        statuses=options.parse_statuses(status),
        metadata=options.parse_metadata(metadata) or {},
    )
    backend = open_backend()
    page = backend.newest(limit, wanted)
    if json:
        streams.print_json(page.as_list())
    elif page.views:
        _print(backend, page)
        if page.has_more:
            streams.hint(f"list more batches with `batchchat list --limit {2 * limit}`")
    elif status or metadata:
        streams.info("no batches match")
        streams.hint("list all batches with `batchchat list`")
    else:
        streams.info("no batches")
        streams.hint("submit one with `batchchat submit requests.jsonl --model demo`")
    return 0


def _print(backend: "Backend", page: "Page") -> None:
    from batchchat.cli.terminal.table import fits, table

    width = streams.stdout_width()
    runners = backend.runners(page.views)
    columns, rows = _table(page.views, runners, is_wide=True)
    if not fits(columns, rows, width):
        columns, rows = _table(page.views, runners, is_wide=False)
    for line in table(columns, rows, width):
        streams.print_data(line)


def _table(
    views: "Sequence[View]", runners: Sequence[str], *, is_wide: bool
) -> tuple[list["Column"], list[list[str]]]:
    """Return the columns and rows; the wide form has whole IDs and exact counts."""
    columns = _columns(has_failures=any(v.batch.request_counts.failed for v in views))
    ids = [view.batch.id for view in views]
    shown = ids if is_wide else _short_ids(ids)
    rows = [
        [name, *_cells(view, runner, is_wide=is_wide)]
        for name, view, runner in zip(shown, views, runners, strict=True)
    ]
    rows.append(_total(views, is_wide=is_wide))
    has_failed = len(columns) == len(rows[0])
    return columns, rows if has_failed else [[*r[:3], *r[4:]] for r in rows]


def _columns(*, has_failures: bool) -> list["Column"]:
    from batchchat.cli.terminal.table import Column

    failed = [Column("failed", is_number=True, rank=4)] if has_failures else []
    return [
        Column("ID"),
        Column("status"),
        Column("done", is_number=True),
        *failed,
        Column("model", min_width=6),
        Column("tokens", is_number=True, rank=3),
        Column("cost", is_number=True, rank=2),
        Column("runs on", rank=1),
        Column("age", is_number=True),
    ]


def _cells(view: "View", runner: str, *, is_wide: bool) -> list[str]:
    batch = view.batch
    counts = batch.request_counts
    model = batch.model or ""
    return [
        batch.status,
        _done(sum(counts.done()), counts.total, is_wide=is_wide),
        count(counts.failed),
        model if is_wide else model.rpartition("/")[2],
        short(batch.usage.total_tokens),
        dollars(batch.estimated_cost),
        runner if is_wide else runner.replace("this machine", "here"),
        age(time.time() - batch.created_at),
    ]


def _total(views: "Sequence[View]", *, is_wide: bool) -> list[str]:
    batches = [view.batch for view in views]
    counts = [batch.request_counts for batch in batches]
    known = [b.estimated_cost for b in batches if b.estimated_cost is not None]
    is_unknown = any(
        batch.estimated_cost is None and batch.usage.total_tokens for batch in batches
    )
    plus = "+" if is_unknown else ""
    done = sum(sum(one.done()) for one in counts)
    return [
        count(len(batches), "batch"),
        "",
        _done(done, sum(one.total for one in counts), is_wide=is_wide),
        count(sum(one.failed for one in counts)),
        "",
        short(sum(batch.usage.total_tokens for batch in batches)),
        f"{dollars(sum(known, Decimal(0)))}{plus}" if known else "-",
        "",
        "",
    ]


def _done(done: int, total: int, *, is_wide: bool) -> str:
    if is_wide:
        return f"{count(done)} / {count(total)}"
    return f"{short(done)}/{short(total)}"


def _short_ids(ids: Sequence[str]) -> list[str]:
    """Return the beginnings of the ids that tell them apart, without `batch_`."""
    length = _SHORT_ID
    while len({one[:length] for one in ids}) < len(set(ids)):
        length += 1
    return [one[:length].removeprefix("batch_") for one in ids]
