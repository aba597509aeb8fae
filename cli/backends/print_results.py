"""Print the results of a batch to stdout, during and after the run."""

from collections.abc import Iterator
from itertools import islice

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.follow import follow
from batchchat.cli.backends.protocol import Backend
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.format import count
from batchchat.cli.terminal.signals import INTERRUPTED
from batchchat.jobs.errors import ConflictError
from batchchat.jobs.ledger.batch_object import BatchObject
from batchchat.jobs.requests.line_reader import split_lines


class _LimitReachedError(Exception):
    """The last result that was asked for is printed."""


class ResultPrinter:
    """Prints completed or failed results, up to a limit."""

    def __init__(
        self, backend: Backend, batch_id: str, *, errors: bool, limit: int | None
    ) -> None:
        """With `errors`, print the failed requests instead of the completed ones."""
        self._backend = backend
        self._batch_id = batch_id
        self._errors = errors
        self._limit = limit
        self._printed = 0

    def print_ended(self, batch: BatchObject) -> None:
        """Print the output file or the error file of an ended batch."""
        file_id = batch.error_file_id if self._errors else batch.output_file_id
        if file_id is None:
            streams.info("no failed requests" if self._errors else "no results")
            return
        chunks = self._backend.content(file_id)
        if self._limit is None:
            streams.print_results(chunks)
            return
        first = islice(split_lines(chunks), self._limit)
        streams.print_results(line.rstrip(b"\n") + b"\n" for line in first)

    def print_finished(self) -> None:
        """Print the finished results of a running batch.

        Raises:
            ConflictError: there are none yet.

        """
        source = self._backend.result_source(follow=False)
        view = self._backend.get(self._batch_id)
        try:
            self._print(source.new(view))
        except _LimitReachedError:
            return
        if not self._printed and not self._errors:
            raise ConflictError(
                f"`{self._batch_id}` has no results yet: its status is"
                f" {view.batch.status}",
                hint=f"see its progress with `batchchat status {self._batch_id}`",
            )
        counts = view.batch.request_counts
        streams.info(
            f"{count(sum(counts.done()))} of {count(counts.total, 'request')} are"
            f" finished; the status is {view.batch.status}"
        )

    def follow(self) -> int:
        """Print results as they finish; return the exit status."""
        source = self._backend.result_source(follow=True)

        def print_new(view: View) -> None:
            self._print(source.new(view))

        try:
            view = follow(
                self._backend, self._batch_id, show_progress=False, on_view=print_new
            )
        except _LimitReachedError:
            return 0
        return 0 if view else INTERRUPTED

    def _print(self, results: Iterator[tuple[bool, bytes]]) -> None:
        for completed, line in results:
            if completed != self._errors:
                streams.print_results([line])
                self._printed += 1
                if self._printed == self._limit:
                    raise _LimitReachedError
