"""`batchchat status`: show the status of a batch."""

from typing import TYPE_CHECKING

from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import count, local_time, short

if TYPE_CHECKING:
    from batchchat.cli.backends.batch_view import View
    from batchchat.cli.backends.protocol import Backend
    from batchchat.jobs.ledger.batch_object import BatchObject


def status(batch_id: options.BatchId, json: options.Json = False) -> int:
    """Show the status of a batch.

    batchchat status batch_0199…
    """
    from batchchat.cli.backends.report import report_invalid_input
    from batchchat.cli.backends.resolve import open_batch

    backend, batch_id = open_batch(batch_id)
    view = backend.get(batch_id)
    batch = view.batch
    if json:
        streams.print_encoded(view.text)
        return 0
    counts = batch.request_counts
    done = counts.completed + counts.failed
    share = f" ({done / counts.total:.0%})" if counts.total else ""
    progress = f"{count(done)} / {count(counts.total)} requests{share}"
    streams.print_data(f"{batch.id}  {batch.status}  {progress}")
    rows = _rows(batch)
    if not batch.is_terminal:
        rows += backend.status_rows(view)
    for name, value in rows:
        streams.print_data(f"  {name:<10} {value}")
    if batch.status == "failed":
        report_invalid_input(batch)
    streams.hint(_hint(backend, view))
    return 0


def _rows(batch: "BatchObject") -> list[tuple[str, str]]:
    from batchchat.cli.backends.report import cost, engine_time

    counts, usage = batch.request_counts, batch.usage
    rows = [
        ("model", batch.model or "not known yet"),
        ("created", local_time(batch.created_at)),
        ("completed", count(counts.completed)),
        ("failed", count(counts.failed)),
        ("tokens", f"{short(usage.input_tokens)} in, {short(usage.output_tokens)} out"),
        ("cost", cost(batch)),
        ("engine", engine_time(batch)),
    ]
    if batch.shards:
        shards = batch.shards
        rows.append(("shards", f"{shards.committed} of {shards.total} committed"))
    if batch.delivery:
        error = f": {batch.delivery.error}" if batch.delivery.error else ""
        rows.append(("delivery", f"{batch.delivery.status}{error}"))
    return rows


def _hint(backend: "Backend", view: "View") -> str | None:
    """Return what to do next with the batch."""
    batch = view.batch
    if not batch.is_over:
        blocked = None if batch.is_terminal else backend.blocked_reason(view)
        return blocked or backend.next_hint(batch.id, batch.status)
    if batch.status == "failed":
        return f"list all problems with `batchchat status {batch.id} --json`"
    if batch.request_counts.completed:
        return f"read the results with `batchchat results {batch.id}`"
    return None
