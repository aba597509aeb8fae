"""Print the results of a batch to stdout, during and after the run."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.follow import follow
from batchchat.cli.backends.protocol import Backend
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.format import count
from batchchat.cli.terminal.signals import INTERRUPTED
from batchchat.jobs.errors import ConflictError
from batchchat.jobs.ledger.batch_object import BatchObject
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.requests.line_reader import split_lines


class _LimitReachedError(Exception):
    """The last result that was asked for is printed."""


class Shown(NamedTuple):
    """Which results are printed: the failed ones instead of the others; a limit."""

    errors: bool = False
    limit: int | None = None


class ResultPrinter:
    """Prints results as OpenAI's lines, or as lines of a table.

    OpenAI's lines are those of the output file, without the failed requests. A table
    has all requests.
    """

    def __init__(
        self,
        backend: Backend,
        batch: BatchObject,
        table: TableOptions | None,
        shown: Shown,
    ) -> None:
        """Print with the options `table`, or else those of the batch."""
        table = batch.table if table is None else table
        self._table = table if table.make_tables(has_rows=batch.has_rows) else None
        self._backend = backend
        self._batch_id = batch.id
        self._errors, self._limit = shown
        self._printed = 0

    def print_ended(self, batch: BatchObject) -> None:
        """Print the output file, the error file, or the table of an ended batch."""
        if self._table is not None:
            self._print_table()
            return
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

    def _print_table(self) -> None:
        source = self._backend.result_source(follow=False, table=self._table)
        with suppress(_LimitReachedError):
            self._print(source.new(self._backend.get(self._batch_id)))
        if not self._printed:
            streams.info("no failed requests" if self._errors else "no results")

    def print_finished(self) -> None:
        """Print the finished results of a running batch.

        Raises:
            ConflictError: there are none yet.

        """
        source = self._backend.result_source(follow=False, table=self._table)
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
        source = self._backend.result_source(follow=True, table=self._table)

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
        streams.print_results(self._chosen(results))

    def _chosen(self, results: Iterator[tuple[bool, bytes]]) -> Iterator[bytes]:
        """Yield the lines to print. Raises `_LimitReachedError` after the last one."""
        has_all = self._table is not None and not self._errors
        for completed, line in results:
            if has_all or completed != self._errors:
                yield line
                self._printed += 1
                if self._printed == self._limit:
                    raise _LimitReachedError
