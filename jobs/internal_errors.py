"""What becomes of an exception that nobody foresaw: one request's error line."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from batchchat.jobs.errors import BatchchatError, RequestRefusedError

log = logging.getLogger(__name__)

_LOGGED_FRAMES = 5
"""Innermost calls that are logged; a recursion has a thousand."""


@contextmanager
def fail_request_on_bug(name: str) -> Iterator[None]:
    """Let a bug that the request `name` meets be that request's own error.

    Its neighbours go on. Neither the log nor the error says the exception's own
    text, which may be the request's. Raises `RequestRefusedError`.
    """
    try:
        yield
    except BatchchatError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's
        kind = type(error).__name__
        calls = "".join(traceback.format_tb(error.__traceback__, limit=-_LOGGED_FRAMES))
        log.error("%s is refused, by a bug: %s\n%s", name, kind, calls)  # noqa: TRY400 - it would say the exception's text
        raise RequestRefusedError(
            f"batchchat has a bug that this request met ({kind}): please report it",
            code="internal_error",
            status_code=500,
        ) from None
