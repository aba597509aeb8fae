"""Follows a batch that runs elsewhere until it has ended."""

import time

from cli import terminal
from cli.session import Session
from jobs.errors import StorageError
from jobs.ledger import State
from jobs.progress import Progress
from jobs.usage import Usage

_LOOK = 1.0
_SOON = 10.0
"""Seconds after which nobody's answer is worth a word."""

_PHASES = {
    "validating": "checking",
    "finalizing": "finalizing",
    "cancelling": "finalizing",
}


def follow(
    session: Session, batch_id: str, progress: Progress, *, say: bool = True
) -> State:
    """Look at the batch every second, note in `progress` how it goes.

    Returns its state once it has ended. Storage that fails is waited for.
    """
    watcher = _Watcher(session, progress, say=say)
    while True:
        try:
            state = session.state(batch_id)
        except StorageError as error:
            if not error.retryable:
                raise
            progress.waits_for(error.message)
        else:
            progress.waits_for(None)
            if state.is_terminal:
                return state
            watcher.note(state)
        time.sleep(_LOOK)


class _Watcher:
    """Turns states into progress, and says what is missing."""

    def __init__(self, session: Session, progress: Progress, *, say: bool) -> None:
        self._session = session
        self._progress = progress
        self._say = say
        self._before: Usage | None = None
        self._began = time.monotonic()
        self._said: set[str] = set()

    def note(self, state: State) -> None:
        progress = self._progress
        progress.total = state.counts().total
        phase = _PHASES.get(state.status, "running")
        if phase == "running":
            phase = self._running(state)
        progress.phase = phase
        self._miss(state)

    def _running(self, state: State) -> str:
        counts, usage = state.counts(), state.usage()
        if self._before is None:
            if not any(counts.done()) and not state.running:
                return "waiting"
            self._before = usage
            self._progress.begin(counts)
        since = usage.output_tokens - self._before.output_tokens
        self._progress.has(counts, Usage(output_tokens=max(0, since)))
        return "running"

    def _miss(self, state: State) -> None:
        """Say who is missing, once, when nothing has happened for a while."""
        cluster = self._session.cluster
        if cluster is None or time.monotonic() - self._began < _SOON:
            return
        if state.plan is None and not cluster.has_controller():
            self._once("no controller is there: start one with `batchchat controller`")
        elif state.plan and state.plan.model and not cluster.workers_of(state):
            model = state.plan.model.name
            self._once(
                f"no worker runs `{model}`: start one with"
                f" `batchchat worker --model {model}`"
            )

    def _once(self, text: str) -> None:
        if self._say and text not in self._said:
            self._said.add(text)
            terminal.say(text)
