"""`batchchat status`: where a batch stands."""

from typing import TYPE_CHECKING

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.format import count, moment, short

if TYPE_CHECKING:
    from batchchat.cli.backends.batch_view import View
    from batchchat.cli.backends.protocol import Batches


def status(batch_id: options.BatchId, json: options.Json = False) -> int:
    """Show where a batch stands.

    batchchat status batch_0199…
    """
    from batchchat.cli.backends.open import open_batches
    from batchchat.cli.backends.report import engine_time

    batches = open_batches()
    view = batches.get(batch_id)
    if json:
        terminal.out(view.text.decode())
        return 0
    batch, counts, usage = view.batch, view.batch.request_counts, view.batch.usage
    done = counts.completed + counts.failed
    share = f" ({done / counts.total:.0%})" if counts.total else ""
    progress = f"{count(done)} / {count(counts.total)} requests{share}"
    terminal.out(f"{batch.id}  {batch.status}  {progress}")
    rows = [
        ("model", batch.model or "not known yet"),
        ("created", moment(batch.created_at)),
        ("completed", count(counts.completed)),
        ("failed", count(counts.failed)),
        ("tokens", f"{short(usage.input_tokens)} in, {short(usage.output_tokens)} out"),
        ("cost", f"${batch.estimated_cost:f}"),
        ("engine", engine_time(batch)),
    ]
    if batch.shards:
        shards = batch.shards
        rows.append(("shards", f"{shards.committed} of {shards.total} committed"))
    if batch.delivery:
        error = f": {batch.delivery.error}" if batch.delivery.error else ""
        rows.append(("delivery", f"{batch.delivery.status}{error}"))
    if not batch.is_terminal:
        rows += batches.rows(view)
    for name, value in rows:
        terminal.out(f"  {name:<10} {value}")
    terminal.hint(_next_step(batches, view))
    return 0


def _next_step(batches: "Batches", view: "View") -> str | None:
    batch = view.batch
    if not batch.is_terminal and (missing := batches.missing(view)):
        return missing
    if batch.status == "failed":
        return f"see why with `batchchat status {batch.id} --json`"
    if batch.is_terminal and not batch.is_over:
        return batches.next_step(batch.id, batch.status)
    if batch.status == "completed":
        return f"read the results with `batchchat results {batch.id}`"
    if batch.is_terminal:
        return None
    return batches.next_step(batch.id, batch.status)
