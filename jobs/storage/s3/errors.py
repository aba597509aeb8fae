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

from batchchat.jobs.errors import ObjectMissingError, StorageError, StorageFullError

_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) to keys that "
_VALID_KEYS = (
    _KEYS + "are valid at this endpoint; BATCHCHAT_S3_ENDPOINT sets the endpoint"
)
_REGION = "set AWS_DEFAULT_REGION to the region of the bucket"
_HINTS = {
    "NoSuchBucket": "create the bucket, or use an existing one;"
    " BATCHCHAT_STORAGE sets the bucket of the batches",
    "InvalidAccessKeyId": _VALID_KEYS,
    "SignatureDoesNotMatch": _VALID_KEYS,
    "InvalidToken": "set AWS_SESSION_TOKEN to a token for these keys, or unset it",
    "ExpiredToken": "get new credentials; the token in AWS_SESSION_TOKEN has expired",
    "RequestTimeTooSkewed": "correct the clock of this machine",
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "PermanentRedirect": _REGION,
    "NotImplemented": "use an S3 server that supports conditional puts (If-None-Match)",
}
_BY_STATUS = {
    401: _VALID_KEYS,
    403: _KEYS + "may read, write, list and delete objects there",
}
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
    code = error_code(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchKey" or (
        status == HTTPStatus.NOT_FOUND and not code.startswith("NoSuch")
    ):
        return ObjectMissingError(_redact_credentials(f"no object {place}"))
    said = error.response.get("Error", {}).get("Message") or "no reason given"
    message = _redact_credentials(f"storage failed at {place}: {said} ({code})")
    if status == HTTPStatus.INSUFFICIENT_STORAGE or code in _FULL:
        hint = "free some space in the bucket, or raise its quota"
        return StorageFullError(message, hint=hint)
    failure = StorageError(message, hint=_HINTS.get(code) or _BY_STATUS.get(status))
    failure.retryable = code in _TRANSIENT or status in _TRANSIENT_STATUSES
    return failure


def _from_exception(place: str, error: Exception) -> StorageError:
    message = _redact_credentials(f"storage failed at {place}: {error}")
    if isinstance(error, _CONNECTION_ERRORS):
        return StorageError(message, hint=_REACH)
    keys = isinstance(error, (NoCredentialsError, PartialCredentialsError))
    failure = StorageError(message, hint=_VALID_KEYS if keys else None)
    failure.retryable = False
    return failure


def _redact_credentials(text: str) -> str:
    """Remove user names and passwords from URLs."""
    return re.sub(r"//[^/\s@]*@", "//", text)
