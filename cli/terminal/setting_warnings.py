"""Warn of mistyped settings before a command runs."""

from collections.abc import Callable
from functools import wraps

from batchchat.cli.terminal import streams


def with_setting_warnings(function: Callable[..., int]) -> Callable[..., int]:
    """Return a command that first warns on stderr of names that are no settings."""

    @wraps(function)
    def command(*args: object, **options: object) -> int:
        from batchchat.jobs.settings import unknown_settings

        for text in unknown_settings():
            streams.warn(text)
        return function(*args, **options)

    return command
