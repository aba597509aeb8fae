"""Runs the batches that a server was given, one after the other, on this machine.

Level-triggered: again and again it takes from the index of active batches the one
that is most urgent, then oldest. What fails is put off, and the others go first; what
is cancelled or expires while it waits is ended without waiting for its turn.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from jobs.active import Active
from jobs.catalog import Catalog, Model
from jobs.errors import BatchchatError, NotFoundError
from jobs.finalize import finalize
from jobs.ids import made_at
from jobs.ledger import Ledger, State
from jobs.log import about
from jobs.progress import Progress
from jobs.prompters import Prompters
from jobs.record import Batch
from jobs.settings import Settings
from jobs.stop import Stop
from jobs.storage import CachedStorage, PatientStorage, Storage
from workers.embedded import EmbeddedRun
from workers.lock import BusyError, batch_lock
from workers.warm import LivingEngine, WarmEngine

_logger = logging.getLogger(__name__)

_LOOK = 0.5
"""Seconds between two looks at an index with nothing to do in it."""

_ABANDONED = 3_600
"""Seconds after which an entry without a batch is that of a create that was cut off."""

_FIRST_WAIT, _LONGEST_WAIT = 5.0, 300.0
_RANKS = {"high": 0, "normal": 1, "low": 2}


class Running(NamedTuple):
    """The batch that is being run, and how far it is."""

    batch: Batch
    progress: Progress


@dataclass
class Totals:
    """What a runner has done since it was started."""

    batches_ended: Counter[str] = field(default_factory=Counter)
    requests_done: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    cost: Decimal = Decimal(0)

    def add(self, progress: Progress) -> None:
        """Add what one run has done."""
        counts, usage = progress.counts, progress.usage
        self.requests_done += Counter(completed=counts.completed, failed=counts.failed)
        self.tokens += Counter(input=usage.input_tokens, output=usage.output_tokens)


class LocalRunner:
    """A thread that runs batches, and one that looks after those that wait."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        catalog: Catalog,
        *,
        start_engine: Callable[[Model], LivingEngine],
        models: Path,
        locks: Path,
    ) -> None:
        """Run the batches of all projects in `storage`."""
        self._storage = CachedStorage(storage)
        self._settings = settings
        self._prompters = Prompters(catalog, models)
        self._locks = locks
        self._active = Active(storage)
        self._engine = WarmEngine(start_engine)
        self._closing = threading.Event()
        self._stop: Stop | None = None
        self._wait_until: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self.running: Running | None = None
        self.totals = Totals()
        self._threads = [
            threading.Thread(target=self._work, name="runner", daemon=True),
            threading.Thread(target=self._tend, name="tender", daemon=True),
        ]

    @property
    def loaded(self) -> str | None:
        """The name of the model that is loaded."""
        return self._engine.model

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def close(self, grace: float) -> None:
        """End; running requests get `grace` seconds, and what is done is kept."""
        self._closing.set()
        if self._stop is not None:
            self._stop.ask(grace)
        for thread in self._threads:
            thread.join()
        self._engine.close()

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                batch = self._next()
            except BatchchatError as error:
                _logger.warning("can't read the index: %s", error.message)
                batch = None
            if batch is None:
                self._closing.wait(_LOOK)
            else:
                self._run(batch)

    def _tend(self) -> None:
        """End what is cancelled or expires while it waits for its turn."""
        while not self._closing.wait(2 * _LOOK):
            try:
                for batch in self._batches():
                    running = self.running
                    if running is None or running.batch.id != batch.id:
                        self._end_if_over(batch)
            except BatchchatError as error:
                _logger.warning("can't look after the batches: %s", error.message)
            except Exception:
                _logger.exception("can't look after the batches")

    def _next(self) -> Batch | None:
        """Return the batch whose turn it is."""
        now = time.monotonic()
        waiting = [
            batch
            for batch in self._batches()
            if self._wait_until.get(batch.id, 0.0) <= now
        ]
        return min(waiting, key=_urgency, default=None)

    def _batches(self) -> list[Batch]:
        """Return the batches of the index, and drop what has none for long."""
        found = []
        for project, batch_id in list(self._active):
            try:
                found.append(self._ledger(project).batch(batch_id))
            except NotFoundError:
                if time.time() - made_at(batch_id) > _ABANDONED:
                    self._active.remove(project, batch_id)
        return found

    def _run(self, batch: Batch) -> None:
        """Run a batch as far as it goes; whatever fails, the others go on."""
        self._stop, progress = Stop(), Progress()
        if self._closing.is_set():
            return
        self.running = Running(batch, progress)
        about_it = about("batch_begun", batch_id=batch.id, project=batch.project)
        _logger.info("%s begun", batch.id, extra=about_it)
        try:
            state = self._run_of(batch, self._stop, progress).run(batch.id)
        except BusyError:
            self._put_off(batch, "another process runs it")
        except BatchchatError as error:
            self._put_off(batch, error.message)
        except Exception:
            _logger.exception("%s failed", batch.id)
            self._put_off(batch, "a bug")
        else:
            if state.is_terminal:
                self._end(state)
        finally:
            self.running = None
            self.totals.add(progress)

    def _run_of(self, batch: Batch, stop: Stop, progress: Progress) -> EmbeddedRun:
        storage = PatientStorage(
            self._storage, self._settings.patience_seconds, stop, progress.waits_for
        )
        return EmbeddedRun(
            Ledger(storage, batch.project),
            self._settings,
            self._prompters,
            start_engine=self._engine.lend,
            stop=stop,
            progress=progress,
            locks=self._locks,
        )

    def _end_if_over(self, batch: Batch) -> None:
        ledger = self._ledger(batch.project)
        cancelled = ledger.is_cancelled(batch.id)
        if not cancelled and ledger.now() < batch.expires_at:
            return
        try:
            with batch_lock(self._locks, batch.id):
                if ledger.state(batch.id).is_terminal:
                    self._active.remove(batch.project, batch.id)
                    return
                ending = "cancelled" if cancelled else "expired"
                state = finalize(ledger, batch.id, ending)
        except BusyError:
            return
        self._end(state)

    def _end(self, state: State) -> None:
        batch, status = state.batch, state.status
        self.totals.batches_ended[status] += 1
        self.totals.cost += state.cost()
        self._active.remove(batch.project, batch.id)
        self._failures.pop(batch.id, None)
        self._wait_until.pop(batch.id, None)
        about_it = about("batch_ended", batch_id=batch.id, status=status)
        _logger.info("%s %s", batch.id, status, extra=about_it)

    def _put_off(self, batch: Batch, reason: str) -> None:
        """Let the others go first for a while, a longer one each time."""
        failures = self._failures.get(batch.id, 0)
        wait = min(_FIRST_WAIT * 2**failures, _LONGEST_WAIT)
        self._failures[batch.id] = failures + 1
        self._wait_until[batch.id] = time.monotonic() + wait
        about_it = about("batch_put_off", batch_id=batch.id, seconds=wait)
        _logger.warning("%s put off: %s", batch.id, reason, extra=about_it)

    def _ledger(self, project: str) -> Ledger:
        return Ledger(self._storage, project)


def _urgency(batch: Batch) -> tuple[int, str]:
    """Return what orders batches: their priority, then their age."""
    return _RANKS.get(batch.priority, _RANKS["normal"]), batch.id
