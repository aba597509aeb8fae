"""Plans batches with the prompt renderers and the limits of this process."""

import logging
from functools import partial

from batchchat.jobs.errors import BatchchatError, ConfigError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, Plan
from batchchat.jobs.ledger.state import State
from batchchat.jobs.planning.planner import make_plan, plan_limits, reject
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.reuse.index_building import store_index
from batchchat.jobs.storage.paced import PacedStorage
from batchchat.workers.control.fair_turns import FairTurns, paused
from batchchat.workers.environment import WorkerEnvironment

log = logging.getLogger(__name__)

_CONCURRENT_WORK = 16
"""Batches that are checked or ended at the same time; others wait for their turn."""


class BatchPlanner:
    """Makes the plans of batches."""

    def __init__(
        self,
        environment: WorkerEnvironment,
        registry: RendererRegistry,
        *,
        fail_unusable: bool = True,
    ) -> None:
        """Measure prompts with the renderers of `registry`.

        With `fail_unusable`, a batch whose model is not configured well fails. Without
        it, `plan` raises the error, so that the user can correct the configuration.
        """
        self._registry = registry
        self._limits = plan_limits(environment.settings)
        self._progress = environment.progress
        self._fail_unusable = fail_unusable
        self.turns = FairTurns(_CONCURRENT_WORK, clock=environment.monotonic)
        """The turns in which batches are planned, and also ended."""

    def plan(self, ledger: Ledger, batch: Batch) -> Plan:
        """Return the batch's plan; make it if there is none.

        Raises:
            ConfigError: the model cannot be used as it is configured.
            StorageError: the input cannot be read, or the plan cannot be written.

        """
        self._progress.phase = "checking"
        try:
            with self.turns.taking(ledger.project) as pause:
                return make_plan(
                    ledger.through(PacedStorage(ledger.storage, pause)),
                    batch,
                    self._registry,
                    self._limits,
                    self._progress.on_checked,
                    paced=partial(paused, pause=pause),
                )
        except ConfigError as error:
            if not self._fail_unusable:
                raise
            return reject(ledger, batch, error)

    def index(self, ledger: Ledger, state: State) -> None:
        """Index the answers of an ended batch, so that others can use them again.

        Without an index, the planner of the next batch makes it, so no error is raised.
        """
        try:
            store_index(ledger, state, self._registry)
        except BatchchatError as error:
            log.warning("`%s` is not indexed yet: %s", state.batch.id, error.message)
