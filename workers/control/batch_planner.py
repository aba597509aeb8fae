"""Plans batches with the prompt renderers and the limits of this process."""

from batchchat.jobs.errors import ConfigError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, Plan
from batchchat.jobs.planning.planner import make_plan, plan_limits, reject
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.workers.environment import WorkerEnvironment


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

    def plan(self, ledger: Ledger, batch: Batch) -> Plan:
        """Return the batch's plan; make it if there is none.

        Raises:
            ConfigError: the model cannot be used as it is configured.
            StorageError: the input cannot be read, or the plan cannot be written.

        """
        self._progress.phase = "checking"
        try:
            return make_plan(
                ledger, batch, self._registry, self._limits, self._progress.on_checked
            )
        except ConfigError as error:
            if not self._fail_unusable:
                raise
            return reject(ledger, batch, error)
