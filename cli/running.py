"""Runs a batch in this process, shows how it goes, and reports how it ended."""

from dataclasses import dataclass
from pathlib import Path

from cli import terminal
from cli.display import Display
from cli.follow import follow
from cli.interrupt import INTERRUPTED, interruptible
from cli.report import report_end
from cli.session import Session
from jobs.batch_object import batch_object
from jobs.catalog import Model
from jobs.errors import BatchchatError
from jobs.ledger import Ledger, State
from jobs.progress import Progress
from jobs.stop import Stop
from jobs.storage import PatientStorage
from workers.driver import DrivenEngine
from workers.embedded import EmbeddedRun
from workers.lock import BusyError

_APART = {"auto": None, "inside": False, "apart": True}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user wants to see of a run."""

    progress: bool = True
    json: bool = False
    to_stdout: bool = False


def run_batch(session: Session, batch_id: str, wish: Wish) -> int:
    """Run the batch to its end and deliver the results; return the exit status."""
    if session.cluster:
        return follow_batch(session, batch_id, wish)
    try:
        state = _run(session, batch_id, wish)
    except BusyError:
        raise
    except BatchchatError as error:
        on = f"go on with `batchchat resume {batch_id}`"
        error.hint = f"{error.hint}; then {on}" if error.hint else on
        raise
    if not state.is_terminal:
        _say_stopped(state)
        return INTERRUPTED
    return end_batch(session, state, wish)


def end_batch(session: Session, state: State, wish: Wish) -> int:
    """Deliver and report what a batch that has ended gave; return the exit status."""
    written = _deliver(session, state, wish)
    if wish.json:
        terminal.out_json(batch_object(state))
    return report_end(state, written)


def follow_batch(session: Session, batch_id: str, wish: Wish) -> int:
    """Show how a batch that runs elsewhere goes; see `run_batch`."""
    progress = Progress()
    display = Display(progress, shown=wish.progress)
    try:
        state = follow(session, batch_id, progress, say=wish.progress)
    except KeyboardInterrupt:
        display.stop()
        terminal.hint(f"it goes on; follow it with `batchchat watch {batch_id}`")
        return INTERRUPTED
    finally:
        display.stop()
    return end_batch(session, state, wish)


def _run(session: Session, batch_id: str, wish: Wish) -> State:
    progress, stop = Progress(), Stop()
    settings = session.settings
    storage = PatientStorage(
        session.ledger.storage, settings.patience_seconds, stop, progress.waits_for
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
        display = Display(progress, shown=wish.progress)
        try:
            return run.run(batch_id)
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


def _deliver(session: Session, state: State, wish: Wish) -> list[Path]:
    """Write the results where the user wants them."""
    batch = state.batch
    if wish.to_stdout and state.final and state.final.output_file_id:
        key = session.ledger.keys.content(state.final.output_file_id)
        for chunk in session.ledger.storage.stream(key):
            terminal.out_bytes(chunk)
    if batch.output is None or state.final is None:
        return []
    from jobs.export import export

    return export(session.ledger, batch.id, Path(batch.output), batch.output_format)


def _say_stopped(state: State) -> None:
    counts = state.counts()
    terminal.say(
        f"stopped: {counts.completed + counts.failed:,} of {counts.total:,} requests"
        " are committed, and what else was finished is kept"
    )
    terminal.hint(f"go on with `batchchat resume {state.batch.id}`")
