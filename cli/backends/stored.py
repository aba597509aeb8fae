"""Batches of the storage that this process reads itself."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path

from batchchat.cli.backends.batch_view import Delivery, Page, View, encode
from batchchat.cli.backends.session import Session
from batchchat.cli.terminal.input_file import Input
from batchchat.jobs.catalog.model_object import model_object
from batchchat.jobs.files.files import Files
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger.cost_limit import check_limit
from batchchat.jobs.ledger.records import File
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import Options, cancel_batch, create_batch
from batchchat.jobs.storage.destination import Destinations


class StoredBatches:
    """What a cluster and a run in this process have in common; see `Batches`."""

    takes_any_model = True
    handed_over = False
    """Whether somebody else runs what is submitted."""

    mends = "`batchchat resume`"
    """Who sees to records that can't be read."""

    def __init__(self, session: Session) -> None:
        """Use the storage of `session`."""
        self.session = session
        self.ledger = session.ledger

    def check_model(  # noqa: D102 - see Batches
        self, name: str, max_cost: Decimal | None = None
    ) -> None:
        check_limit(max_cost, self.session.catalog.find(name).price, name)

    def models(self) -> bytes:  # noqa: D102
        data = [model_object(model) for model in self.session.catalog]
        return encode({"object": "list", "data": data})

    def destination(self, output: str) -> str:  # noqa: D102
        allowed = self.session.settings.output_prefixes
        if not self.handed_over:  # it is this user's process that writes
            allowed = (output,)
        places = Destinations(allowed, self.ledger.storage.url)
        return places.checked(output, self.ledger.project).url

    def submit(self, file: Input, asked: Options, *, shown: bool) -> str:  # noqa: D102
        del shown  # it is quick
        return self._create(store_file(self.ledger, file.chunks(), file.name), asked)

    def retry(  # noqa: D102
        self, batch_id: str, delivery: Delivery | None, max_cost: Decimal | None
    ) -> str:
        from batchchat.jobs.results.retry import retry_input

        state = self.ledger.state(batch_id)
        model = state.plan.model if state.plan else None
        if model is not None:
            check_limit(max_cost, model.price, model.name)
        lines = retry_input(self.ledger, state)
        stored = store_file(self.ledger, lines, f"{batch_id}_retry.jsonl")
        before = state.batch
        asked = Options(
            model=before.model,
            seed=before.seed,
            completion_window=before.completion_window,
            metadata=before.metadata,
            retry_of=batch_id,
            output=str(delivery.output) if delivery else None,
            destination=None if delivery else before.destination,
            output_format=delivery.formats if delivery else before.output_format,
            priority=before.priority,
            max_cost=max_cost,
        )
        return self._create(stored, asked)

    def _create(self, file: File, asked: Options) -> str:
        """Make the batch; a server over the same storage deletes no input of it."""
        batch_id = new_batch_id()
        Files(self.ledger).use(file.id, batch_id)
        handed_over = self.handed_over
        create_batch(self.ledger, file, asked, hand_over=handed_over, batch_id=batch_id)
        return batch_id

    def get(self, batch_id: str) -> View:  # noqa: D102
        return View.of_state(self.session.state(batch_id))

    def newest(self, limit: int) -> Page:  # noqa: D102
        found = list(islice(self.ledger.batches(), limit + 1))
        views = [self.get(batch.id) for batch in found[:limit]]
        return Page(views, has_more=len(found) > limit)

    def cancel(self, batch_id: str) -> View:  # noqa: D102
        cancel_batch(self.ledger, batch_id)
        self._cancelled(batch_id)
        return View.of_state(self.ledger.state(batch_id))

    def content(self, file_id: str) -> Iterator[bytes]:  # noqa: D102
        return self.ledger.storage.stream(self.ledger.keys.content(file_id))

    def export(self, view: View, delivery: Delivery) -> list[Path]:  # noqa: D102
        from batchchat.jobs.results.export import export

        return export(self.ledger, view.batch.id, delivery.output, delivery.formats)

    def missing(self, view: View) -> str | None:  # noqa: D102
        del view
        return None

    def rows(self, view: View) -> list[tuple[str, str]]:  # noqa: D102
        damaged = [key.split("/", 4)[-1] for key in self._damaged(view)]
        if not damaged:
            return []
        return [("damaged", f"`{'`, `'.join(damaged)}`: {self.mends} mends it")]

    def _damaged(self, view: View) -> list[str]:
        return sorted(self.ledger.state(view.batch.id).damaged)

    def _cancelled(self, batch_id: str) -> None:
        """See that the wish to stop a batch is heard."""
        raise NotImplementedError
