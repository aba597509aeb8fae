"""Wait for a batch that runs elsewhere, and show its progress."""

import time
from collections.abc import Callable

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.protocol import Backend
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.format import count
from batchchat.cli.terminal.progress import ProgressDisplay, run_progress_line
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import BatchchatError, ConflictError, ServerError
from batchchat.jobs.execution.progress import Progress

_POLL_SECONDS = 1.0
_BLOCKED_CHECK_SECONDS = 10.0
_ABANDONED_SECONDS = 5.0
"""Time without progress after which a batch that no process here runs is abandoned."""

_PHASES = {
    "validating": "checking",
    "finalizing": "finalizing",
    "cancelling": "finalizing",
}
_IDLE_PHASES = {"checking", "waiting", "finalizing"}
"""Phases in which nothing happens while a process is missing."""


def follow(
    backend: Backend,
    batch_id: str,
    *,
    show_progress: bool,
    on_view: Callable[[View], object] = lambda _: None,
) -> View | None:
    """Wait until a batch has ended; return None if Ctrl-C is pressed first.

    Each state of the batch, the last one included, is passed to `on_view`. Retries
    while the storage or the server is unavailable.

    Raises:
        ConflictError: the batch has not ended, and no process runs it.

    """
    progress = Progress()
    watcher = _Watcher(backend, progress, show_warnings=show_progress)
    display = ProgressDisplay(run_progress_line(progress), show_progress=show_progress)
    watch = f"`batchchat watch {batch_id}`"
    try:
        return _poll_until_over(backend, batch_id, watcher, on_view)
    except KeyboardInterrupt:
        display.stop()
        blocked = _blocked_hint(backend, batch_id)
        if blocked and watcher.has_shown(blocked):  # it needs no repetition
            blocked = f"follow it later with {watch}"
        streams.hint(blocked or f"it keeps running; follow it with {watch}")
        return None
    except _AbandonedError:
        raise
    except BatchchatError as error:
        follow_later = f"follow the batch with {watch}"
        error.hint = (
            f"{error.hint}; then {follow_later}" if error.hint else follow_later
        )
        raise
    finally:
        display.stop()


def _blocked_hint(backend: Backend, batch_id: str) -> str | None:
    try:
        return blocked_hint(backend, backend.get(batch_id))
    except BatchchatError:
        return None


def blocked_hint(backend: Backend, view: View) -> str | None:
    """Return what to do if the batch does not continue by itself."""
    if view.batch.is_over:
        return None
    if backend.is_abandoned(view):
        resume = f"`batchchat resume {view.batch.id}`"
        return f"no process is running it; continue with {resume}"
    return backend.blocked_reason(view)


def _poll_until_over(
    backend: Backend,
    batch_id: str,
    watcher: "_Watcher",
    on_view: Callable[[View], object],
) -> View:
    while True:
        pause = _POLL_SECONDS
        try:
            view = backend.get(batch_id)
            on_view(view)
        except BatchchatError as error:
            if not error.retryable:
                raise
            watcher.record_failure(error)
            if isinstance(error, ServerError):
                pause = max(pause, error.retry_after)
        else:
            if view.batch.is_over:
                return view
            watcher.record(view)
        time.sleep(pause)


class _AbandonedError(ConflictError):
    """A batch has not ended, and no process runs it."""

    def __init__(self, view: View) -> None:
        counts, batch_id = view.batch.request_counts, view.batch.id
        done = f"{count(sum(counts.done()))} of {count(counts.total, 'request')}"
        super().__init__(
            f"no process is running `{batch_id}`; {done} are finished",
            hint=f"continue with `batchchat resume {batch_id}`",
        )


class _Watcher:
    """Turns views into progress, and warns when nothing can run the batch."""

    def __init__(
        self, backend: Backend, progress: Progress, *, show_warnings: bool
    ) -> None:
        self._backend = backend
        self._progress = progress
        self._show_warnings = show_warnings
        self._tokens_at_start: int | None = None
        self._next_check = time.monotonic()
        self._blocked: str | None = None
        self._shown_warnings: set[str] = set()
        self._changed_at = time.monotonic()
        self._last_text = b""

    def record_failure(self, error: BatchchatError) -> None:
        """Show that the state of the batch can't be read."""
        source = "server" if isinstance(error, ServerError) else "storage"
        self._progress.set_waiting(error.message, source)

    def record(self, view: View) -> None:
        """Show the state of the batch."""
        self._check_abandoned(view)
        progress, batch = self._progress, view.batch
        progress.set_waiting(None)
        progress.total = batch.request_counts.total
        phase = _PHASES.get(batch.status, "running")
        if batch.is_terminal:
            phase = "delivering"
        if phase == "running":
            phase = self._record_counts(view)
        if time.monotonic() >= self._next_check:
            self._next_check += _BLOCKED_CHECK_SECONDS
            self._blocked = self._backend.blocked_reason(view)
            self._warn_once(self._blocked)
        is_idle = self._blocked is not None and phase in _IDLE_PHASES
        progress.phase = "blocked" if is_idle else phase

    def _check_abandoned(self, view: View) -> None:
        """Raise `_AbandonedError` if no process runs the batch.

        A process on another machine, which also uses the storage, shows by progress.
        """
        now = time.monotonic()
        if view.text != self._last_text or not self._backend.is_abandoned(view):
            self._last_text, self._changed_at = view.text, now
        elif now - self._changed_at > _ABANDONED_SECONDS:
            raise _AbandonedError(view)

    def _record_counts(self, view: View) -> str:
        """Record how many requests are done; return the phase."""
        counts, tokens = view.batch.request_counts, view.batch.usage.output_tokens
        if self._tokens_at_start is None:
            if not any(counts.done()) and not view.started:
                return "waiting"
            self._tokens_at_start = tokens
            self._progress.start(counts)
        new_tokens = max(0, tokens - self._tokens_at_start)
        self._progress.update_remote(counts, Usage(output_tokens=new_tokens))
        return "running"

    def has_shown(self, text: str) -> bool:
        """Return whether the user has seen a warning, whose details may differ."""
        return _subject(text) in self._shown_warnings

    def _warn_once(self, text: str | None) -> None:
        if text and self._show_warnings and not self.has_shown(text):
            self._shown_warnings.add(_subject(text))
            streams.warn(text)


def _subject(text: str) -> str:
    return text.partition(":")[0]
