"""Completion windows: durations such as `24h`, after which a batch expires."""

from batchchat.jobs.durations import duration_seconds
from batchchat.jobs.errors import UsageError

NO_DEADLINE = "none"
"""The completion window of a batch that never expires; only commands can ask for it."""

_MIN_SECONDS, _MAX_SECONDS = 3_600, 30 * 86_400


def completion_window_seconds(text: str) -> int:
    """Return the seconds of a completion window, such as `90m`, `24h` or `1d12h`.

    Raises:
        UsageError: it is no duration from 1 hour to 30 days.

    """
    seconds = duration_seconds(text)
    if not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
        raise UsageError(
            f"`{text[:80]}` is not a completion window: it must be a duration from 1h"
            " to 30d, such as 90m, 24h or 7d",
            hint="choose another one with `--completion-window`",
        )
    return seconds


def expiry(window: str, now: int) -> int | None:
    """Return when a window that begins at `now` ends, in Unix seconds.

    None means never. Raises `UsageError` if the window is not valid.
    """
    return None if window == NO_DEADLINE else now + completion_window_seconds(window)
