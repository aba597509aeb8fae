"""Ask before something is removed that cannot be restored."""

import sys

from batchchat.cli.terminal import streams
from batchchat.jobs.errors import UsageError


def check_can_ask(*, yes: bool) -> None:
    """Raise `UsageError` if there is no terminal to ask on, and `--yes` is missing."""
    if not yes and not (sys.stdin.isatty() and streams.stderr().isatty()):
        raise UsageError(
            "can't ask for confirmation: stdin or stderr is not a terminal",
            hint="repeat the command with `--yes`, or see what it would delete with"
            " `--dry-run`",
        )


def confirmed(question: str, *, yes: bool) -> bool:
    """Return whether the user agrees: with `--yes`, or by an answer on the terminal."""
    if yes:
        return True
    streams.ask(f"{question} [y/N] ")
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        return True
    streams.info("nothing was deleted")
    return False
