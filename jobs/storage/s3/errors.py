"""Translates errors of S3 servers, boto3 and the network to `StorageError`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - the name it has there
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from batchchat.jobs.errors import (
    ObjectMissingError,
    StorageAccessError,
    StorageError,
    StorageFullError,
)
from batchchat.jobs.storage.s3.clock_skew import describe_clock_skew

_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) to keys that "
_VALID_KEYS = (
    _KEYS + "are valid at this endpoint; BATCHCHAT_S3_ENDPOINT sets the endpoint"
)
_PERMITTED_KEYS = _KEYS + "may read, write, list and delete objects there"
_TOKEN = "set AWS_SESSION_TOKEN to a token for these keys, or unset it"  # noqa: S105
_NEW_TOKEN = "get new credentials; the token in AWS_SESSION_TOKEN has expired"  # noqa: S105
_REGION = "set AWS_DEFAULT_REGION to the region of the bucket"
_BUCKET = (
    "create the bucket, or use an existing one; BATCHCHAT_STORAGE sets the bucket of"
    " the batches"
)
_CLOCK = "correct the clock of this machine"
_ACCESS_HINTS = {
    **dict.fromkeys(("NoSuchBucket", "InvalidBucketName"), _BUCKET),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch"), _VALID_KEYS),
    **dict.fromkeys(("InvalidToken", "TokenRefreshRequired"), _TOKEN),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException"), _NEW_TOKEN),
    "RequestTimeTooSkewed": _CLOCK,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "PermanentRedirect": _REGION,
}
"""Codes of errors that last until an operator changes something, with what to do."""

_ACCESS_HINTS_BY_STATUS = {301: _REGION, 401: _VALID_KEYS, 403: _PERMITTED_KEYS}
_NO_CONDITIONS = "use an S3 server that supports conditional puts (If-None-Match)"
_REACH = "check that the server is running and that BATCHCHAT_S3_ENDPOINT is correct"

_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"}
_TRANSIENT = {
    *("BadDigest", "IncompleteBody", "NoSuchUpload", "RequestTimeout"),
    *("RequestLimitExceeded", "SlowDown", "Throttling", "ThrottlingException"),
}
_TRANSIENT_STATUSES = {408, 409, 425, 429, 500, 502, 503, 504}
_CONNECTION_ERRORS = (
    *(ConnectionError, CredentialRetrievalError, HTTPClientError),
    *(HTTPError, IncompleteReadError, ResponseParserError, ValueError),
)
_MISSING_CREDENTIALS = (NoCredentialsError, PartialCredentialsError)


@contextmanager
def translate_errors(place: str) -> Iterator[None]:
    """Raise errors of boto3 as `StorageError` with the location."""
    try:
        yield
    except ClientError as error:
        raise _from_response(place, error) from error
    except (BotoCoreError, HTTPError, ResponseParserError, ValueError) as error:
        # botocore raises ValueError for a header that was cut.
        raise _from_exception(place, error) from error


def error_code(error: ClientError) -> str:
    """Return S3's error code, or the HTTP status if the response has no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _from_response(place: str, error: ClientError) -> StorageError:
    """Classify the response of a server; this is the only place that does."""
    code = error_code(error)
    metadata = error.response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    if code == "NoSuchKey" or (
        status == HTTPStatus.NOT_FOUND and not code.startswith("NoSuch")
    ):
        return ObjectMissingError(_redact_credentials(f"no object {place}"))
    said = error.response.get("Error", {}).get("Message") or "no reason given"
    message = _redact_credentials(f"storage failed at {place}: {said} ({code})")
    if status == HTTPStatus.INSUFFICIENT_STORAGE or code in _FULL:
        hint = "free some space in the bucket, or raise its quota"
        return StorageFullError(message, hint=hint)
    if code in _TRANSIENT or status in _TRANSIENT_STATUSES:
        return StorageError(message)
    fix = _ACCESS_HINTS.get(code) or _ACCESS_HINTS_BY_STATUS.get(status)
    if fix:
        skew = describe_clock_skew(metadata.get("HTTPHeaders", {}).get("date", ""))
        return StorageAccessError(message, hint=f"{_CLOCK}: {skew}" if skew else fix)
    unsupported = code == "NotImplemented"
    return _final(StorageError(message, hint=_NO_CONDITIONS if unsupported else None))


def _from_exception(place: str, error: Exception) -> StorageError:
    message = _redact_credentials(f"storage failed at {place}: {error}")
    if isinstance(error, _CONNECTION_ERRORS):
        return StorageError(message, hint=_REACH)
    if isinstance(error, _MISSING_CREDENTIALS):
        return StorageAccessError(message, hint=_VALID_KEYS)
    return _final(StorageError(message))


def _final(error: StorageError) -> StorageError:
    """Return the error as one that repeating the call cannot fix."""
    error.retryable = False
    return error


def _redact_credentials(text: str) -> str:
    """Remove user names and passwords from URLs."""
    return re.sub(r"//[^/\s@]*@", "//", text)
