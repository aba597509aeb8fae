"""Follows a batch that runs elsewhere until it has ended."""

import time

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.protocol import Batches
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.progress import Display, told_of
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import BatchchatError, ServerError
from batchchat.jobs.execution.progress import Progress

_LOOK = 1.0
_SOON = 10.0
"""Seconds after which nobody's answer is worth a word."""

_PHASES = {
    "validating": "checking",
    "finalizing": "finalizing",
    "cancelling": "finalizing",
}


def follow(batches: Batches, batch_id: str, *, shown: bool) -> View | None:
    """Show how a batch goes until it has ended; None when Ctrl-C comes first.

    Storage and servers that fail are waited for.
    """
    progress = Progress()
    display = Display(told_of(progress), shown=shown)
    goes_on = f"it goes on; follow it with `batchchat watch {batch_id}`"
    try:
        return _until_ended(batches, batch_id, _Watcher(batches, progress, say=shown))
    except KeyboardInterrupt:
        display.stop()
        terminal.hint(goes_on)
        return None
    except BatchchatError as error:
        error.hint = f"{error.hint}; {goes_on}" if error.hint else goes_on
        raise
    finally:
        display.stop()


def _until_ended(batches: Batches, batch_id: str, watcher: "_Watcher") -> View:
    while True:
        pause = _LOOK
        try:
            view = batches.get(batch_id)
        except BatchchatError as error:
            if not error.retryable:
                raise
            watcher.miss(error)
            if isinstance(error, ServerError):
                pause = max(pause, error.after)
        else:
            if view.batch.is_over:
                return view
            watcher.note(view)
        time.sleep(pause)


class _Watcher:
    """Turns views into progress, and says what is missing."""

    def __init__(self, batches: Batches, progress: Progress, *, say: bool) -> None:
        self._batches = batches
        self._progress = progress
        self._say = say
        self._before: int | None = None
        self._next_look = time.monotonic() + _SOON
        self._said: set[str] = set()

    def miss(self, error: BatchchatError) -> None:
        """Note that nobody knows how the batch is."""
        whom = "server" if isinstance(error, ServerError) else "storage"
        self._progress.waits_for(error.message, whom)

    def note(self, view: View) -> None:
        """Note how the batch is."""
        progress, batch = self._progress, view.batch
        progress.waits_for(None)
        progress.total = batch.request_counts.total
        phase = _PHASES.get(batch.status, "running")
        if batch.is_terminal:
            phase = "delivering"
        progress.phase = self._running(view) if phase == "running" else phase
        if time.monotonic() >= self._next_look:
            self._next_look += _SOON
            self._once(self._batches.missing(view))

    def _running(self, view: View) -> str:
        counts, tokens = view.batch.request_counts, view.batch.usage.output_tokens
        if self._before is None:
            if not any(counts.done()) and not view.started:
                return "waiting"
            self._before = tokens
            self._progress.begin(counts)
        since = max(0, tokens - self._before)
        self._progress.has(counts, Usage(output_tokens=since))
        return "running"

    def _once(self, text: str | None) -> None:
        """Say who is missing, once, when nothing has happened for a while."""
        if text and self._say and text not in self._said:
            self._said.add(text)
            terminal.say(text)
