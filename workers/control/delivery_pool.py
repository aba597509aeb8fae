"""Brings results to their destinations, in threads of its own.

A destination that is slow or away makes nobody wait but those who are to be delivered:
neither plans nor ends of batches. What finds no thread free is found again by the next
sweep.
"""

import logging
import time
from collections.abc import Callable
from threading import Thread

from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.results.delivery import attempt_delivery, is_due
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import Storage
from batchchat.jobs.storage.destination import AllowedDestinations
from batchchat.workers.broker.lease_keeper import LeaseKeeper
from batchchat.workers.broker.messages import WorkMessage

log = logging.getLogger(__name__)

_AT_ONCE = 4


class DeliveryPool:
    """The deliveries that this process makes."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        keeper: LeaseKeeper,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Deliver batches of `storage`, to places that the settings allow."""
        self._storage = storage
        self._settings = settings
        self._keeper = keeper
        self._clock = clock
        self._allowed = AllowedDestinations(settings.output_prefixes, storage.url)
        self._here: set[str] = set()

    def start(self, message: WorkMessage) -> None:
        """Deliver a batch, unless that is under way or there is no thread free."""
        if message.name in self._here or len(self._here) >= _AT_ONCE:
            return
        self._here.add(message.name)
        Thread(target=self._run, args=(message,), name="delivery", daemon=True).start()

    def _run(self, message: WorkMessage) -> None:
        try:
            with self._keeper.hold_unmonitored(message.name) as held:
                if held:
                    self._deliver(message)
        except BatchchatError as error:
            log.warning("%s is left for later: %s", message.name, error)
        finally:
            self._here.discard(message.name)

    def _deliver(self, message: WorkMessage) -> None:
        ledger = Ledger(self._storage, message.project, self._clock)
        state = ledger.state(message.batch_id)
        if is_due(state, ledger.now()):
            attempt_delivery(
                ledger, state, lambda url: self._open(url, message.project)
            )

    def _open(self, url: str, project: str) -> Storage:
        settings = self._settings
        return self._allowed.check(url, project).open(
            settings.s3_endpoint, path_style=settings.s3_path_style
        )
