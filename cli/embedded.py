"""Batches that this process runs itself, with no service at all."""

from cli import terminal
from cli.display import Display, told_of
from cli.interrupt import interruptible
from cli.session import Session
from cli.stored import StoredBatches
from cli.view import View
from jobs.catalog import Model
from jobs.errors import BatchchatError
from jobs.finalize import finalize
from jobs.ledger import Ledger
from jobs.progress import Progress
from jobs.stop import Stop
from jobs.storage import PatientStorage
from workers.driver import DrivenEngine
from workers.embedded import EmbeddedRun
from workers.lock import BusyError, batch_lock

_APART = {"auto": None, "inside": False, "apart": True}


class EmbeddedBatches(StoredBatches):
    """See `Batches`."""

    def hand_over(self, batch_id: str) -> None:
        """Do nothing: there is nobody else."""

    def run(self, batch_id: str, *, shown: bool) -> View | None:  # noqa: D102
        try:
            view = self._run(batch_id, shown=shown)
        except BusyError:
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
        except BusyError:
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
            session.prompters,
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


def start_engine(session: Session, model: Model) -> DrivenEngine:
    """Return a running vLLM. Raises `EngineStartError`, `ModelNotFoundError`."""
    from workers.vllm_engine import start_vllm

    return start_vllm(
        model,
        session.models,
        apart=_APART[session.settings.engine_process],
        log=session.settings.engine_log,
    )


def _say_stopped(view: View) -> None:
    counts = view.batch.request_counts
    terminal.say(
        f"stopped: {counts.completed + counts.failed:,} of {counts.total:,} requests"
        " are committed, and what else was finished is kept"
    )
    terminal.hint(f"go on with `batchchat resume {view.batch.id}`")
