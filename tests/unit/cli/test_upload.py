"""Uploads are streamed as multipart forms, from files and pipes of any name."""

import io
import os

import httpx
import pytest

from batchchat.api.http.upload_form import UploadForm
from batchchat.cli.client.http_client import ServerClient
from batchchat.cli.client.transfer_progress import Transfer
from batchchat.cli.client.upload import UploadReader, upload
from batchchat.cli.terminal.input_file import InputFile, open_input
from batchchat.jobs.errors import InputFileError, ServerError

DATA = b"0123456789abcdef" * 10_000  # more than one chunk of httpx
SENT_NAMES = {
    "plain.jsonl": "plain.jsonl",
    'with "quotes".jsonl': "with %22quotes%22.jsonl",
    "new\nline\rand\ttab.jsonl": "new%0Aline%0Dand%09tab.jsonl",
    "with; semicolon=and, comma.jsonl": "with; semicolon=and, comma.jsonl",
    "ключ-鍵-🔑.jsonl": "ключ-鍵-🔑.jsonl",
    "%22percent%.jsonl": "%22percent%.jsonl",
    " spaces .jsonl": " spaces .jsonl",
    os.fsdecode(b"\xff.jsonl"): "?.jsonl",
}


class Received:
    """An HTTP server in memory that keeps the requests it gets."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.requests = []
        self.forms = []

    def __call__(self, request):
        body = request.read()
        form = UploadForm(request.headers["content-type"])
        content = b"".join(form.feed(body))
        self.requests.append(request)
        self.forms.append((form.filename, form.fields, content, form.is_complete))
        status = self.statuses.pop(0) if self.statuses else 200
        error = {"error": {"message": "busy", "type": "t", "code": None}}
        return httpx.Response(status, json={"id": "file-1"} if status == 200 else error)


def send(file, received, retry_seconds=0.0):
    transport = httpx.MockTransport(received)
    server = ServerClient("http://host", None, retry_seconds, transport=transport)
    return upload(server, file, show_progress=False)


@pytest.mark.parametrize(("name", "sent"), SENT_NAMES.items(), ids=SENT_NAMES.values())
def test_file_arrives_with_its_name_and_content(tmp_path, name, sent):
    path = tmp_path / name
    path.write_bytes(DATA)
    received = Received()
    with open_input(str(path)) as file:
        assert send(file, received) == "file-1"
    [(filename, fields, content, is_complete)] = received.forms
    assert (filename, fields) == (sent, {"purpose": "batch"})
    assert content == DATA
    assert is_complete


def test_file_is_sent_with_its_length(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(DATA)
    received = Received()
    with open_input(str(path)) as file:
        send(file, received)
    [request] = received.requests
    assert int(request.headers["content-length"]) == len(request.content)
    assert "transfer-encoding" not in request.headers


def test_pipe_is_sent_in_chunks_as_stdin():
    received = Received()
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        os.write(writing, b"abc")
        os.close(writing)
        send(InputFile.of("-", stream), received)
    [request] = received.requests
    assert request.headers["transfer-encoding"] == "chunked"
    assert received.forms[0][0::2] == ("stdin", b"abc")


def test_file_is_sent_again_from_the_start_after_a_failure(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(DATA)
    received = Received(503, 200)
    with open_input(str(path)) as file:
        assert send(file, received, retry_seconds=30) == "file-1"
    assert [form[2] == DATA for form in received.forms] == [True, True]


def test_pipe_is_not_sent_again():
    received = Received(503)
    file = InputFile("-", io.BytesIO(b"abc"), None)
    with pytest.raises(ServerError) as caught:
        send(file, received, retry_seconds=30)
    assert "save the input to a file" in str(caught.value.hint)
    assert len(received.requests) == 1


@pytest.mark.parametrize("size", [2, 4])
def test_file_that_changes_during_the_upload_is_an_error(size):
    reader = UploadReader(InputFile("in", io.BytesIO(b"abc"), size), Transfer("up"))
    with pytest.raises(InputFileError, match="changed during the upload"):
        list(iter(lambda: reader.read(2), b""))


@pytest.mark.parametrize("size", [3, None])
def test_reader_returns_the_whole_file(size):
    reader = UploadReader(InputFile("in", io.BytesIO(b"abc"), size), Transfer("up"))
    assert b"".join(iter(lambda: reader.read(2), b"")) == b"abc"


def test_size_is_known_only_for_a_file_read_from_its_start(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"12345")
    with path.open("rb") as stream:
        assert InputFile.of("in.jsonl", stream).size == 5
        stream.read(2)
        assert InputFile.of("-", stream).size is None
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert InputFile.of("-", stream).size is None
