"""What a server's errors are to whoever works with the commands."""

import re

import httpx
import msgspec

from batchchat.jobs.errors import (
    BatchchatError,
    ConfigError,
    ConflictError,
    InputFileError,
    ModelNotFoundError,
    NotFoundError,
    ServerError,
    UsageError,
)

_READ = 64 * 1024
"""Bytes of an error that are read; there is never reason for more."""

_LONGEST = 2_000

_KINDS: dict[int, tuple[type[UsageError], str | None]] = {
    404: (NotFoundError, "see `batchchat list`"),
    409: (ConflictError, None),
    413: (InputFileError, "split it into smaller files"),
}


class _Error(msgspec.Struct):
    message: str
    code: str | None = None


class _Answer(msgspec.Struct):
    error: _Error


def failure_of(answer: httpx.Response, url: str) -> BatchchatError:
    """Return the error that an answer stands for."""
    status, error = answer.status_code, _error_in(answer)
    if error is None or error.code == "unknown_url":
        return _strange(answer, url)
    message = _printable(error.message)
    if status in {401, 403}:
        return _refused(message, url)
    if status in {408, 429}:
        after = answer.headers.get("retry-after", "")
        return ServerError(message, after=float(after) if after.isdigit() else 0.0)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return _failed(message, url)
    if error.code == "model_not_found":
        hint = "see what it has with `batchchat models`"
        return ModelNotFoundError(message, hint=hint)
    kind, advice = _KINDS.get(status, (UsageError, None))
    return kind(message, hint=advice)


def unreachable(error: httpx.HTTPError, url: str) -> BatchchatError:
    """Return what it means that there was no answer, or not all of it."""
    if isinstance(error, httpx.ConnectTimeout | httpx.ReadTimeout | httpx.WriteTimeout):
        reason = "it does not answer"
    else:
        reason = re.sub(r"\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
    return ServerError(
        f"can't reach the server at {url}: {_printable(reason)}",
        hint="see whether it runs, and whether BATCHCHAT_URL is right",
    )


def _error_in(answer: httpx.Response) -> _Error | None:
    """Return the error as our servers say it, None where it is another's."""
    body = b""
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > _READ:
            return None
    try:
        return msgspec.json.decode(body, type=_Answer).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _strange(answer: httpx.Response, url: str) -> BatchchatError:
    """Return what an answer means that is not of our API."""
    status = f"{answer.status_code} {answer.reason_phrase}".strip()
    if answer.is_redirect:
        to = _printable(answer.headers["location"])
        return ConfigError(
            f"the server at {url} sends us elsewhere, to {to}",
            hint="set BATCHCHAT_URL to where it really is",
        )
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return _failed(status, url)
    return ConfigError(
        f"the server at {url} does not speak batchchat's API: {status}",
        hint="see whether BATCHCHAT_URL is right",
    )


def _refused(message: str, url: str) -> ConfigError:
    return ConfigError(
        f"the server at {url} does not let us in: {message}",
        hint="set BATCHCHAT_API_KEY to one that `batchchat keys create` has made there",
    )


def _failed(reason: str, url: str) -> ServerError:
    hint = "try again in a moment; if it stays so, look at the server's log"
    return ServerError(f"the server at {url} failed: {reason}", hint=hint)


def _printable(text: str) -> str:
    """Return what may go to a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST])
