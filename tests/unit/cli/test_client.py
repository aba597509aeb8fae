"""What a client makes of answers and of inputs, without any server."""

import io
import os
import time
from pathlib import Path

import httpx
import pytest

from batchchat.cli.backends.batch_view import Delivery
from batchchat.cli.backends.pending_outputs import Wanted
from batchchat.cli.client.http_client import Server
from batchchat.cli.client.http_errors import failure_of, unreachable
from batchchat.cli.client.retry import Patience
from batchchat.cli.client.upload import _checked
from batchchat.cli.terminal.input_file import Input, input_of
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


def answer(status, *, code=None, message="it says why", headers=None):
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
def test_each_status_is_an_error_of_its_kind(status, kind):
    error = failure_of(answer(status), URL)
    assert type(error) is kind
    assert "it says why" in error.message
    assert error.retryable == (kind is ServerError)


def test_an_unknown_model_is_one_here_too():
    error = failure_of(answer(400, code="model_not_found"), URL)
    assert type(error) is ModelNotFoundError
    assert error.hint == "see what it has with `batchchat models`"


def test_who_asks_too_often_hears_when_to_ask_again():
    error = failure_of(answer(429, headers={"retry-after": "7"}), URL)
    assert isinstance(error, ServerError)
    assert error.after == 7


STRANGE = {
    "a page": (httpx.Response(404, text="<html>"), ConfigError),
    "a page without end": (httpx.Response(200, text="x" * 100_000), ConfigError),
    "a proxy's failure": (httpx.Response(502, text="Bad Gateway"), ServerError),
    "another API": (answer(404, code="unknown_url"), ConfigError),
    "elsewhere": (httpx.Response(307, headers={"location": "http://x"}), ConfigError),
}


@pytest.mark.parametrize(("response", "kind"), STRANGE.values(), ids=STRANGE)
def test_what_is_none_of_our_answers_is_told_so(response, kind):
    error = failure_of(response, URL)
    assert type(error) is kind
    assert error.message.startswith(f"the server at {URL} ")
    assert error.hint


def test_a_server_cant_write_to_the_terminal_as_it_likes():
    error = failure_of(answer(400, message="\x1b[2Jgone\nhint: rm -rf"), URL)
    assert error.message == "?[2Jgone?hint: rm -rf"


def test_why_a_server_cant_be_reached_is_said_without_numbers():
    error = unreachable(httpx.ConnectError("[Errno 111] Connection refused"), URL)
    assert error.message == f"can't reach the server at {URL}: Connection refused"


@pytest.mark.parametrize(
    "url", ["http://host", "http://host/", "http://host/v1", "http://host/v1/"]
)
def test_the_url_may_name_the_api_or_not(url):
    server = Server(url, None)
    assert (server.root, server.url) == ("http://host", "http://host/v1")


@pytest.mark.parametrize("url", ["http://[::1", "http://-x-.é", "http://xn--"])
def test_what_is_no_url_is_told_so(url):
    with pytest.raises(ConfigError, match="BATCHCHAT_URL"):
        Server(url, None)


def test_a_password_in_the_url_is_refused_and_not_told():
    with pytest.raises(ConfigError, match="BATCHCHAT_URL") as raised:
        Server("http://me:secret@host", None)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "ключ"])
def test_what_is_no_key_is_told_so(key):
    with pytest.raises(ConfigError, match="BATCHCHAT_API_KEY"):
        Server(URL, key)


@pytest.mark.parametrize("size", [2, 4])
def test_a_file_that_changes_while_it_is_read_is_refused(size):
    file = Input("in.jsonl", io.BytesIO(b"abc"), size)
    with pytest.raises(InputFileError, match="changed while it was read"):
        list(_checked(file))


def test_a_file_that_stays_is_read_whole():
    assert b"".join(_checked(Input("f", io.BytesIO(b"abc"), 3))) == b"abc"
    assert b"".join(_checked(Input("-", io.BytesIO(b"abc"), None))) == b"abc"


def test_only_a_file_that_is_read_from_its_beginning_can_be_read_again(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"12345")
    with path.open("rb") as stream:
        assert input_of("in.jsonl", stream).size == 5
        stream.read(2)
        assert input_of("-", stream).size is None
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert input_of("-", stream).size is None


def test_without_patience_the_first_failure_counts():
    error = ServerError("no")
    with pytest.raises(ServerError) as caught:
        Patience(0).wait(error)
    assert caught.value is error


def test_a_server_that_asks_for_more_patience_than_there_is_is_given_up():
    with pytest.raises(ServerError):
        Patience(5).wait(ServerError("busy", after=60))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "batchchat" / "wanted"


def test_where_results_are_wanted_is_remembered_by_the_next_process(home):
    delivery = Delivery(Path("/somewhere/out.jsonl"), "both")
    Wanted().note("batch_1", delivery)
    assert Wanted().of("batch_1") == delivery
    assert Wanted().of("batch_2") is None
    assert [path.name for path in home.iterdir()] == ["batch_1.json"]


def test_a_place_is_forgotten_after_a_month(home):
    Wanted().note("batch_1", Delivery(Path("/old"), "jsonl"))
    month_ago = time.time() - 31 * 86_400
    os.utime(home / "batch_1.json", (month_ago, month_ago))
    Wanted().note("batch_2", Delivery(Path("/new"), "jsonl"))
    assert [path.name for path in home.iterdir()] == ["batch_2.json"]


def test_without_a_home_a_place_is_known_as_long_as_the_process(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    wanted = Wanted()
    wanted.note("batch_1", Delivery(Path("/here"), "jsonl"))
    assert wanted.of("batch_1") == Delivery(Path("/here"), "jsonl")
    assert Wanted().of("batch_1") is None
