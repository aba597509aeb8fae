"""Translate a server's error responses and connection failures."""

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

_MAX_BODY_BYTES = 64 * 1024
_MAX_MESSAGE_CHARS = 2_000

_ERRORS_BY_STATUS: dict[int, tuple[type[UsageError], str | None]] = {
    404: (NotFoundError, "list the batches with `batchchat list`"),
    409: (ConflictError, None),
    413: (InputFileError, "split the file into smaller ones"),
}


class _Error(msgspec.Struct):
    message: str
    code: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error


def error_from_response(response: httpx.Response, url: str) -> BatchchatError:
    """Return the error that a response of the server at `url` reports."""
    status, error = response.status_code, _read_error(response)
    if error is None or error.code == "unknown_url":
        return _foreign_response_error(response, url)
    message = error.message[:_MAX_MESSAGE_CHARS]
    if status in {401, 403}:
        return _key_error(message, url)
    if status in {408, 429}:
        after = response.headers.get("retry-after", "")
        return ServerError(
            message, retry_after=float(after) if after.isdigit() else 0.0
        )
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return _internal_error(message, url)
    if error.code == "model_not_found":
        hint = "list the models with `batchchat models`"
        return ModelNotFoundError(message, hint=hint)
    kind, hint_text = _ERRORS_BY_STATUS.get(status, (UsageError, None))
    return kind(message, hint=hint_text)


def connection_error(error: httpx.HTTPError, url: str) -> BatchchatError:
    """Return the error for a response that is missing or incomplete."""
    if isinstance(error, httpx.TimeoutException):
        reason = "timed out"
    else:
        reason = re.sub(r"\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
    return ServerError(
        f"can't reach the server at {url}: {reason[:_MAX_MESSAGE_CHARS]}",
        hint="check that it is running and that BATCHCHAT_URL is correct;"
        " then run `batchchat doctor`",
    )


def _read_error(response: httpx.Response) -> _Error | None:
    """Return the error in a response, None if it is not in batchchat's format."""
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            return None
    try:
        return msgspec.json.decode(body, type=_ErrorBody).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _foreign_response_error(response: httpx.Response, url: str) -> BatchchatError:
    """Return the error for a response that does not come from batchchat's API."""
    status = f"{response.status_code} {response.reason_phrase}".strip()
    if response.is_redirect:
        target = response.headers["location"][:_MAX_MESSAGE_CHARS]
        return ConfigError(
            f"the server at {url} redirected to {target}",
            hint="set BATCHCHAT_URL to the server's final address",
        )
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return _internal_error(status, url)
    return ConfigError(
        f"the server at {url} is not a batchchat server: it answered {status}",
        hint="check that BATCHCHAT_URL is correct",
    )


def _key_error(message: str, url: str) -> ConfigError:
    return ConfigError(
        f"the server at {url} rejected the API key: {message}",
        hint="set BATCHCHAT_API_KEY to a key that `batchchat keys create` made for"
        " this server",
    )


def _internal_error(reason: str, url: str) -> ServerError:
    hint = "try again in a moment; if it fails again, check the server's log"
    return ServerError(f"the server at {url} failed: {reason}", hint=hint)
