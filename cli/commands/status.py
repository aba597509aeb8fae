"""`batchchat status`: show the status of a batch."""

import time
from typing import TYPE_CHECKING

from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import count, duration, local_time, short

if TYPE_CHECKING:
    from batchchat.cli.backends.batch_view import View
    from batchchat.cli.backends.protocol import Backend
    from batchchat.jobs.ledger.batch_object import BatchObject

Row = tuple[str, str]


def status(batch_id: options.BatchId, json: options.Json = False) -> int:
    """Show the status of a batch.

    batchchat status batch_0199…
    """
    from batchchat.cli.backends.report import report_invalid_input
    from batchchat.cli.backends.resolve import open_batch

    backend, batch_id = open_batch(batch_id)
    view = backend.get(batch_id)
    if json:
        streams.print_encoded(view.text)
        return 0
    for line in _heading(view.batch):
        streams.print_data(line)
    for name, value in _rows(backend, view):
        streams.print_data(f"  {name:<10} {value}", indent=13)
    if view.batch.status == "failed":
        report_invalid_input(view.batch)
    streams.hint(_hint(backend, view))
    return 0


def _heading(batch: "BatchObject") -> list[str]:
    """Return the first line, in two lines if the terminal is narrow."""
    counts = batch.request_counts
    done = sum(counts.done())
    share = f" ({done / counts.total:.0%})" if counts.total else ""
    name = f"{batch.id}  {batch.status}"
    progress = f"{count(done)} / {count(counts.total)} requests{share}"
    line, width = f"{name}  {progress}", streams.stdout_width()
    if width is None or len(line) <= width:
        return [line]
    return [name, f"  {progress}"]


def _rows(backend: "Backend", view: "View") -> list[Row]:
    from batchchat.cli.backends.report import cost, engine_time

    batch = view.batch
    counts, usage = batch.request_counts, batch.usage
    rows = [
        ("model", batch.model or "not known yet"),
        ("priority", batch.priority),
        *_time_rows(batch),
        *_speed_rows(backend, view),
        ("completed", count(counts.completed)),
        ("failed", count(counts.failed)),
        *_reuse_rows(batch),
        ("tokens", f"{short(usage.input_tokens)} in, {short(usage.output_tokens)} out"),
        ("cost", cost(batch)),
        ("engine", engine_time(batch)),
        *_engine_rows(batch),
        *_output_rows(view),
    ]
    if batch.shards:
        shards = batch.shards
        rows.append(("shards", f"{shards.committed} of {shards.total} committed"))
    if not batch.is_terminal:
        rows += backend.status_rows(view)
    return rows


def _engine_rows(batch: "BatchObject") -> list[Row]:
    """Return how the engines that produced the results differ."""
    from batchchat.jobs.catalog.engine_arguments import differing_fields

    return [
        (name.replace("_", " "), " and ".join(values))
        for name, values in differing_fields(batch.engines.values()).items()
    ]


def _reuse_rows(batch: "BatchObject") -> list[Row]:
    """Return how many requests were not run, as an earlier batch has answered them."""
    if not batch.reused_requests:
        return []
    sources = count(len(batch.reuse), "earlier batch")
    return [("reused", f"{count(batch.reused_requests)} from {sources}")]


def _time_rows(batch: "BatchObject") -> list[Row]:
    """Return when the batch was created, how long it has taken, and its deadline."""
    rows = [("created", local_time(batch.created_at))]
    ended_at = (
        batch.completed_at or batch.failed_at or batch.expired_at or batch.cancelled_at
    )
    now = ended_at or time.time()
    rows.append(("elapsed", duration(max(0, now - batch.created_at))))
    if not batch.is_terminal:
        rows.append(("deadline", _deadline(batch.expires_at)))
    return rows


def _deadline(expires_at: int | None) -> str:
    if expires_at is None:
        return "none"
    left = expires_at - time.time()
    return f"{local_time(expires_at)}, " + (
        f"in {duration(left)}" if left > 0 else "which has passed"
    )


def _speed_rows(backend: "Backend", view: "View") -> list[Row]:
    """Return the speed of a running batch and the time that it still needs."""
    from batchchat.cli.terminal.progress import engine_line, time_left
    from batchchat.cli.terminal.progress_line import full_text

    speed = None if view.batch.is_terminal else backend.speed(view)
    if speed is None:
        return []
    left = speed.seconds_left
    return [
        ("speed", f"{short(speed.tokens_per_second)} tokens/s"),
        ("time left", "not known yet" if left is None else f"about {time_left(left)}"),
        *(
            (f"engine {engine.number}", full_text(engine_line(engine)))
            for engine in speed.engines
        ),
    ]


def _output_rows(view: "View") -> list[Row]:
    """Return where the results are written or delivered, if the user chose a place."""
    batch, local = view.batch, view.local_output
    rows = []
    if local is not None:
        rows.append(("output", str(local.path)))
    if batch.output is not None:
        rows.append(("output", batch.output))
    if batch.delivery is not None:
        error = f": {batch.delivery.error}" if batch.delivery.error else ""
        rows.append(("delivery", f"{batch.delivery.status}{error}"))
    return rows or [("output", "kept in the storage")]


def _hint(backend: "Backend", view: "View") -> str | None:
    """Return what to do next with the batch."""
    from batchchat.cli.backends.follow import blocked_hint

    batch = view.batch
    if not batch.is_over:
        follow = f"follow it with `batchchat watch {batch.id}`"
        return blocked_hint(backend, view) or follow
    if batch.request_counts.completed:
        return f"read the results with `batchchat results {batch.id}`"
    return None
