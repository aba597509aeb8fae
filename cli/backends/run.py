"""Runs a batch or follows it, delivers its results, and reports how it ended."""

from dataclasses import dataclass
from pathlib import Path

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.follow import follow
from batchchat.cli.backends.protocol import Batches
from batchchat.cli.backends.report import report_end
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.signals import INTERRUPTED
from batchchat.jobs.errors import OutputError


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user wants to see of a run."""

    progress: bool = True
    json: bool = False
    to_stdout: bool = False


def run_batch(batches: Batches, batch_id: str, wish: Wish) -> int:
    """Run the batch to its end and deliver the results; return the exit status."""
    return _end(batches, batches.run(batch_id, shown=wish.progress), wish)


def follow_batch(batches: Batches, batch_id: str, wish: Wish) -> int:
    """Do the same for a batch that runs elsewhere in any case."""
    return _end(batches, follow(batches, batch_id, shown=wish.progress), wish)


def _end(batches: Batches, view: View | None, wish: Wish) -> int:
    if view is None:
        return INTERRUPTED
    written = _deliver(batches, view, wish)
    if wish.json:
        terminal.out(view.text.decode())
    return report_end(view.batch, written)


def _deliver(batches: Batches, view: View, wish: Wish) -> list[Path]:
    """Write the results where the user wants them."""
    batch = view.batch
    if batch.delivery is not None and batch.delivery.status == "failed":
        raise OutputError(
            f"the results can't be delivered: {batch.delivery.error}",
            hint=f"they are kept: `batchchat results {batch.id} --output PATH`",
        )
    if wish.to_stdout and batch.output_file_id:
        for chunk in batches.content(batch.output_file_id):
            terminal.out_bytes(chunk)
    if view.delivery is None or batch.status == "failed":
        return []
    return batches.export(view, view.delivery)
