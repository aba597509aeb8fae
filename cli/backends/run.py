"""Run or follow a batch, write its results, and report how it ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.follow import follow
from batchchat.cli.backends.print_results import ResultPrinter, Shown
from batchchat.cli.backends.protocol import Backend
from batchchat.cli.backends.report import report_end
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.signals import INTERRUPTED
from batchchat.jobs.errors import OutputError


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a command prints while a batch runs, and at its end."""

    show_progress: bool = True
    print_json: bool = False
    """Print the Batch object to stdout at the end."""

    print_results: bool = False
    """Print the results to stdout at the end."""


def announce(backend: Backend, batch_id: str, *, to_stderr: bool) -> None:
    """Print the id of a new batch.

    The batch runs even if the reader of stdout has closed the pipe.

    Raises:
        OutputError: the id can't be written; the hint names it.

    """
    if to_stderr:
        streams.info(batch_id)
        return
    try:
        streams.print_data(batch_id)
    except streams.BrokenOutputError:
        streams.info(batch_id)
    except OutputError as error:
        next_step = backend.next_hint(batch_id)
        error.hint = f"`{batch_id}` is stored; {next_step}"
        raise


def run_batch(backend: Backend, batch_id: str, options: RunOptions) -> int:
    """Run the batch to its end and write the results; return the exit status."""
    view = backend.run(batch_id, show_progress=options.show_progress)
    status = _finish(backend, view, options)
    if view is not None:
        backend.index_answers(view.batch.id)
    return status


def follow_batch(backend: Backend, batch_id: str, options: RunOptions) -> int:
    """Do the same for a batch that another process runs."""
    view = follow(backend, batch_id, show_progress=options.show_progress)
    return _finish(backend, view, options)


def _finish(backend: Backend, view: View | None, options: RunOptions) -> int:
    if view is None:
        return INTERRUPTED
    written = _write_results(backend, view, options)
    if options.print_json:
        with _results_are_kept(view):
            streams.print_encoded(view.text)
    return report_end(view.batch, written)


@contextmanager
def _results_are_kept(view: View) -> Iterator[None]:
    """Add to an error of stdout where the results are."""
    try:
        yield
    except OutputError as error:
        error.hint = _kept_hint(view)
        raise


def _kept_hint(view: View) -> str:
    return f"the results are kept: `batchchat results {view.batch.id} --output PATH`"


def _write_results(backend: Backend, view: View, options: RunOptions) -> list[Path]:
    """Write the results to stdout or local files; return the files."""
    batch = view.batch
    if batch.delivery is not None and batch.delivery.status == "failed":
        raise OutputError(
            f"delivering the results failed: {batch.delivery.error}",
            hint=_kept_hint(view),
        )
    if options.print_results and (batch.output_file_id or batch.has_rows):
        with _results_are_kept(view):
            ResultPrinter(backend, batch, None, Shown()).print_ended(batch)
    if view.local_output is None or batch.status == "failed":
        return []
    return backend.export(view, view.local_output)
