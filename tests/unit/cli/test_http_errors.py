"""Error responses and connection failures become errors with a hint."""

import httpx
import pytest

from batchchat.cli.client.http_errors import connection_error, error_from_response
from batchchat.jobs.errors import (
    ConfigError,
    ConflictError,
    InputFileError,
    ModelNotFoundError,
    NotFoundError,
    ServerError,
    UsageError,
)

URL = "http://host/v1"


def response(status, *, code=None, message="the reason", headers=None):
    body = {"error": {"message": message, "type": "t", "param": None, "code": code}}
    return httpx.Response(status, json=body, headers=headers)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, UsageError),
        (401, ConfigError),
        (403, ConfigError),
        (404, NotFoundError),
        (408, ServerError),
        (409, ConflictError),
        (413, InputFileError),
        (422, UsageError),
        (429, ServerError),
        (500, ServerError),
        (503, ServerError),
    ],
)
def test_status_determines_the_error_class(status, kind):
    error = error_from_response(response(status), URL)
    assert type(error) is kind
    assert "the reason" in error.message
    assert error.retryable == (kind is ServerError)


def test_unknown_model_is_a_model_not_found_error():
    error = error_from_response(response(400, code="model_not_found"), URL)
    assert type(error) is ModelNotFoundError
    assert error.hint == "list the models with `batchchat models`"


def test_rate_limit_error_carries_retry_after():
    error = error_from_response(response(429, headers={"retry-after": "7"}), URL)
    assert isinstance(error, ServerError)
    assert error.retry_after == 7


FOREIGN = {
    "a web page": (httpx.Response(404, text="<html>"), ConfigError),
    "a huge page": (httpx.Response(200, text="x" * 100_000), ConfigError),
    "a proxy's failure": (httpx.Response(502, text="Bad Gateway"), ServerError),
    "another API": (response(404, code="unknown_url"), ConfigError),
    "a redirect": (httpx.Response(307, headers={"location": "http://x"}), ConfigError),
}


@pytest.mark.parametrize(("foreign", "kind"), FOREIGN.values(), ids=FOREIGN)
def test_response_of_another_server_is_an_error_with_a_hint(foreign, kind):
    error = error_from_response(foreign, URL)
    assert type(error) is kind
    assert error.message.startswith(f"the server at {URL} ")
    assert error.hint


def test_error_message_is_limited():
    error = error_from_response(response(400, message="x" * 10_000), URL)
    assert error.message == "x" * 2_000


def test_connection_error_omits_the_errno():
    error = connection_error(httpx.ConnectError("[Errno 111] Connection refused"), URL)
    assert error.message == f"can't reach the server at {URL}: Connection refused"
