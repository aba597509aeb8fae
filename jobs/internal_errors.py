"""Turn an unexpected exception into the error of one request."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from batchchat.jobs.errors import BatchchatError, RequestRefusedError

log = logging.getLogger(__name__)

_LOGGED_FRAMES = 5
"""Innermost calls that are logged; a recursion may have a thousand."""


@contextmanager
def fail_request_on_bug(name: str) -> Iterator[None]:
    """Raise `RequestRefusedError` for a bug that the request `name` triggers.

    Other requests are not affected. Neither the log nor the error contains the
    exception's own text, which may quote the request.
    """
    try:
        yield
    except (BatchchatError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a Rust panic is no Exception
        kind = type(error).__name__
        calls = "".join(traceback.format_tb(error.__traceback__, limit=-_LOGGED_FRAMES))
        log.error("%s is rejected because of a bug: %s\n%s", name, kind, calls)  # noqa: TRY400 - without the exception's text
        raise RequestRefusedError(
            f"internal error ({kind}): this is a bug in batchchat, please report it",
            code="internal_error",
            status_code=500,
        ) from None
