"""Batches that this process runs itself, with no service at all."""

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.session import Session
from batchchat.cli.backends.stored import StoredBatches
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.progress import Display, told_of
from batchchat.cli.terminal.signals import interruptible
from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.results.finalize import finalize
from batchchat.jobs.shutdown import Stop
from batchchat.jobs.storage import PatientStorage
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.local.batch_lock import BatchLockedError, batch_lock
from batchchat.workers.local.embedded_run import EmbeddedRun

_APART = {"auto": None, "inside": False, "apart": True}


class EmbeddedBatches(StoredBatches):
    """See `Batches`."""

    def hand_over(self, batch_id: str) -> None:
        """Do nothing: there is nobody else."""

    def run(self, batch_id: str, *, shown: bool) -> View | None:  # noqa: D102
        try:
            view = self._run(batch_id, shown=shown)
        except BatchLockedError:
            raise
        except BatchchatError as error:
            on = f"go on with `batchchat resume {batch_id}`"
            error.hint = f"{error.hint}; then {on}" if error.hint else on
            raise
        if view.batch.is_terminal:
            return view
        _say_stopped(view)
        return None

    def next_step(self, batch_id: str, status: str | None = None) -> str | None:  # noqa: D102
        if status is None:
            return f"run it with `batchchat resume {batch_id}`"
        if status == "cancelling":
            return None
        return f"if nothing runs it, go on with `batchchat resume {batch_id}`"

    def _cancelled(self, batch_id: str) -> None:
        try:
            with batch_lock(self.session.locks, batch_id):
                finalize(self.ledger, batch_id, "cancelled")
        except BatchLockedError:
            terminal.say("the process that runs it stops when it next looks")

    def _run(self, batch_id: str, *, shown: bool) -> View:
        session, progress, stop = self.session, Progress(), Stop()
        settings = session.settings
        storage = PatientStorage(
            self.ledger.storage, settings.patience_seconds, stop, progress.waits_for
        )
        run = EmbeddedRun(
            Ledger(storage, settings.project),
            settings,
            session.renderers,
            start_engine=lambda model: start_engine(session, model),
            stop=stop,
            progress=progress,
            locks=session.locks,
        )
        with (
            terminal.engine_output(session.engine_log),
            interruptible(batch_id, progress, stop, settings.grace_seconds),
        ):
            display = Display(told_of(progress), shown=shown)
            try:
                return View.of_state(run.run(batch_id))
            finally:
                display.stop()


def start_engine(session: Session, model: Model) -> EngineDriver:
    """Return a running vLLM. Raises `EngineStartError`, `ModelNotFoundError`."""
    from batchchat.workers.engine.vllm_startup import start_vllm

    return start_vllm(
        model,
        session.models,
        in_subprocess=_APART[session.settings.engine_process],
        log_level=session.settings.engine_log,
    )


def _say_stopped(view: View) -> None:
    counts = view.batch.request_counts
    terminal.say(
        f"stopped: {counts.completed + counts.failed:,} of {counts.total:,} requests"
        " are committed, and what else was finished is kept"
    )
    terminal.hint(f"go on with `batchchat resume {view.batch.id}`")
