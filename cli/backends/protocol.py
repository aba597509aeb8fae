"""Where batches run: in this process, on a cluster, or on a server.

The commands work with `Batches` and can't tell which of the three it is.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from batchchat.cli.backends.batch_view import Delivery, Page, View
from batchchat.cli.terminal.input_file import Input
from batchchat.jobs.ledger.submission import Options

if TYPE_CHECKING:
    pass


class Batches(Protocol):
    """The batches of one project.

    Whatever names a batch raises `NotFoundError` where there is none, and everything
    raises an error that is `retryable` while the storage or the server is away.
    """

    takes_any_model: bool
    """Whether models beyond the catalog can be asked for, by hub id or folder."""

    def check_model(self, name: str, max_cost: Decimal | None = None) -> None:
        """See that there is such a model, and that a limit to its cost can be held.

        Raises `ModelNotFoundError`, `UsageError`.
        """

    def models(self) -> bytes:
        """Return the catalog as OpenAI's list of Model objects, in JSON."""

    def destination(self, output: str) -> str:
        """Return the URL of a place that whoever ends the batch is to write to.

        Raises `OutputError` where that is known to be impossible.
        """

    def submit(self, file: Input, asked: Options, *, shown: bool) -> str:
        """Hand a file in; return the batch's id. `shown` is whether to say how it goes.

        Raises:
            InputFileError: it can't be read, or is too large.

        """

    def retry(
        self, batch_id: str, delivery: Delivery | None, max_cost: Decimal | None
    ) -> str:
        """Hand in what failed or never ran of a batch; return the new batch's id.

        Raises:
            ConflictError: the batch has not ended.
            UsageError: there is nothing to retry.

        """

    def get(self, batch_id: str) -> View:
        """Return where a batch stands."""

    def newest(self, limit: int) -> Page:
        """Return the last `limit` batches, newest first."""

    def cancel(self, batch_id: str) -> View:
        """Stop a batch. Raises `ConflictError` where it has ended otherwise."""

    def hand_over(self, batch_id: str) -> None:
        """See that whoever runs batches elsewhere knows of this one."""

    def run(self, batch_id: str, *, shown: bool) -> View | None:
        """Run or follow a batch to its end; None where somebody interrupted that."""

    def content(self, file_id: str) -> Iterator[bytes]:
        """Yield the bytes of an output or an error file."""

    def export(self, view: View, delivery: Delivery) -> list[Path]:
        """Write the results of a batch that has ended; see `jobs.export.export`."""

    def missing(self, view: View) -> str | None:
        """Say who would have to be there so that the batch goes on."""

    def rows(self, view: View) -> list[tuple[str, str]]:
        """Return what else there is to say of a batch that has not ended."""

    def next_step(self, batch_id: str, status: str | None = None) -> str | None:
        """Say what to do for a batch that has not ended; no `status`: it is new."""
