"""S3 errors become storage errors with `retryable` and a hint."""

import time
from email.utils import formatdate

import pytest
from botocore import exceptions as boto
from botocore.exceptions import ClientError
from urllib3.exceptions import ProtocolError, SSLError

from batchchat.jobs.errors import (
    ObjectMissingError,
    StorageAccessError,
    StorageError,
    StorageFullError,
)
from batchchat.jobs.storage.s3.errors import translate_errors

PLACE = "`s3://bucket/key` at `http://user:geheim@endpoint`"
URL = "http://user:geheim@endpoint/bucket/key"


def raised(error):
    with pytest.raises(StorageError) as caught, translate_errors(PLACE):
        raise error
    assert "s3://bucket/key" in caught.value.message
    assert "geheim" not in f"{caught.value} {caught.value.hint}"
    return caught.value


def answer(status, code, message="said so", date=""):
    error = {"Code": code, "Message": message}
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {"date": date}}
    return ClientError({"Error": error, "ResponseMetadata": metadata}, "GetObject")


@pytest.mark.parametrize("code", ["NoSuchKey", "404", "NotFound"])
def test_a_missing_object_is_an_object_missing_error(code):
    assert isinstance(raised(answer(404, code)), ObjectMissingError)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *[(500, "InternalError"), (502, "502"), (503, "SlowDown"), (503, "503")],
        *[(504, "504"), (429, "TooManyRequests"), (400, "RequestTimeout")],
        *[(409, "ConditionalRequestConflict"), (409, "OperationAborted")],
        *[(400, "BadDigest"), (404, "NoSuchUpload"), (403, "RequestLimitExceeded")],
    ],
)
def test_transient_errors_are_retryable(status, code):
    error = raised(answer(status, code))
    assert error.retryable
    assert "said so" in error.message
    assert code in error.message


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (403, "AccessDenied", "AWS_ACCESS_KEY_ID"),
        (403, "403", "AWS_ACCESS_KEY_ID"),
        (403, "InvalidAccessKeyId", "BATCHCHAT_S3_ENDPOINT"),
        (403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        (400, "ExpiredToken", "AWS_SESSION_TOKEN"),
        (403, "RequestTimeTooSkewed", "clock"),
        (404, "NoSuchBucket", "create the bucket"),
        (400, "AuthorizationHeaderMalformed", "AWS_DEFAULT_REGION"),
        (301, "PermanentRedirect", "AWS_DEFAULT_REGION"),
        (403, "AllAccessDisabled", "AWS_ACCESS_KEY_ID"),
        (401, "401", "AWS_ACCESS_KEY_ID"),
        (400, "InvalidToken", "AWS_SESSION_TOKEN"),
    ],
)
def test_a_denied_access_is_permanent_and_has_a_hint(status, code, hint):
    error = raised(answer(status, code))
    assert isinstance(error, StorageAccessError)
    assert not error.retryable
    assert hint in str(error.hint)


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (501, "NotImplemented", "If-None-Match"),
        (400, "KeyTooLongError", None),
        (405, "MethodNotAllowed", None),
    ],
)
def test_an_invalid_call_is_neither_retryable_nor_a_denied_access(status, code, hint):
    error = raised(answer(status, code))
    assert not error.retryable
    assert not isinstance(error, ObjectMissingError | StorageAccessError)
    assert (hint or "batchchat doctor") in str(error.hint)


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "AccessDenied", "403"])
@pytest.mark.parametrize(
    ("minutes", "said"), [(60, "60 minutes ahead of"), (-90, "90 minutes behind")]
)
def test_a_wrong_clock_is_detected_from_the_date_of_the_response(code, minutes, said):
    date = formatdate(time.time() - minutes * 60, usegmt=True)
    hint = str(raised(answer(403, code, date=date)).hint)
    assert "correct the clock of this machine" in hint
    assert said in hint


@pytest.mark.parametrize("date", ["", "soon", "Mon, 99 Foo 2026 00:00:00 GMT", None])
def test_without_a_wrong_clock_the_hint_names_the_keys(date):
    date = formatdate(usegmt=True) if date is None else date
    assert "AWS_ACCESS_KEY_ID" in str(raised(answer(403, "403", date=date)).hint)


@pytest.mark.parametrize(
    ("status", "code"),
    [(507, "InsufficientStorage"), (507, "507"), (403, "QuotaExceeded")],
)
def test_a_full_bucket_is_a_storage_full_error(status, code):
    error = raised(answer(status, code))
    assert isinstance(error, StorageFullError)
    assert "quota" in str(error.hint)


@pytest.mark.parametrize(
    "error",
    [
        boto.EndpointConnectionError(endpoint_url=URL),
        boto.ConnectTimeoutError(endpoint_url=URL),
        boto.ReadTimeoutError(endpoint_url=URL),
        boto.ConnectionClosedError(endpoint_url=URL),
        boto.ProxyConnectionError(proxy_url=URL),
        boto.SSLError(endpoint_url=URL, error="no"),
        boto.ResponseStreamingError(error="cut"),
        boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        boto.CredentialRetrievalError(provider="metadata", error_msg="away"),
        ProtocolError("cut"),
        SSLError("EOF"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_unreachable_server_is_retryable(error):
    assert raised(error).retryable
    assert "BATCHCHAT_S3_ENDPOINT" in str(raised(error).hint)


def test_missing_credentials_are_not_retryable():
    partial = boto.PartialCredentialsError(provider="env", cred_var="secret")
    for error in (boto.NoCredentialsError(), partial):
        assert isinstance(raised(error), StorageAccessError)
        assert "AWS_ACCESS_KEY_ID" in str(raised(error).hint)


def test_invalid_boto_settings_are_not_retryable():
    assert not raised(boto.ConfigParseError(path="config")).retryable


def test_a_batchchat_error_passes_unchanged():
    mine = KeyError("mine")
    with pytest.raises(KeyError) as caught, translate_errors(PLACE):
        raise mine
    assert caught.value is mine
