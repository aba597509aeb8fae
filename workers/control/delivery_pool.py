"""Delivers results to their destinations in a few threads.

A slow or unavailable destination delays only other deliveries of its project, never
the planning or finalization of batches. The next sweep repeats a delivery that found no
free thread.
"""

import logging
from collections.abc import Callable
from threading import Thread

from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.results.delivery import attempt_delivery, is_due
from batchchat.jobs.storage import Storage
from batchchat.jobs.storage.destination import AllowedDestinations
from batchchat.workers.broker.lease_keeper import LeaseKeeper
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.control.fair_turns import fair_part
from batchchat.workers.environment import WorkerEnvironment

log = logging.getLogger(__name__)

_MAX_CONCURRENT_DELIVERIES = 8
"""Deliveries at the same time; a project gets half of what the others leave."""


class DeliveryPool:
    """The deliveries of this process."""

    def __init__(self, environment: WorkerEnvironment, keeper: LeaseKeeper) -> None:
        """Deliver to the destinations that the settings allow."""
        self._environment = environment
        self._keeper = keeper
        settings = environment.settings
        url = environment.storage.url
        self._allowed = AllowedDestinations(settings.output_prefixes, url)
        self._active: set[WorkMessage] = set()

    def start(self, message: WorkMessage) -> None:
        """Deliver a batch, unless it is being delivered or has to wait for a thread."""
        active = list(self._active)
        own = sum(one.project == message.project for one in active)
        others = len(active) - own
        is_full = len(active) >= _MAX_CONCURRENT_DELIVERIES
        has_enough = own >= fair_part(_MAX_CONCURRENT_DELIVERIES, others)
        if is_full or has_enough or message in self._active:
            return
        self._active.add(message)
        Thread(target=self._run, args=(message,), name="delivery", daemon=True).start()

    def _run(self, message: WorkMessage) -> None:
        try:
            with self._keeper.hold_unmonitored(message.name) as is_held:
                if is_held:
                    self._deliver(message)
        except BatchchatError as error:
            log.warning("deferred %s: %s", message.name, error)
        finally:
            self._active.discard(message)

    def _deliver(self, message: WorkMessage) -> None:
        storage, clock = self._environment.storage, self._environment.clock
        ledger = Ledger(storage, message.project, clock)
        state = ledger.state(message.batch_id)
        if is_due(state, ledger.now()):
            attempt_delivery(ledger, state, self._opener(message.project))

    def _opener(self, project: str) -> Callable[[str], Storage]:
        settings = self._environment.settings

        def open_destination(url: str) -> Storage:
            return self._allowed.check(url, project).open(
                settings.s3_endpoint, path_style=settings.s3_path_style
            )

        return open_destination
