"""Uploads are atomic and bounded; downloads support ranges."""

import json
import socket
import time
from http.client import HTTPResponse

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchchat.api.http.upload_form import UploadForm
from batchchat.jobs.errors import StorageFullError
from batchchat.jobs.storage import LocalStorage, MemoryStorage
from tests.api.api_server import LINE, error_of
from tests.support.wait import wait_until

FORM = {"content-type": "multipart/form-data; boundary=x"}
BEGIN = (
    b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
)
END = b"\r\n--x--\r\n"


nearly_boundaries = (
    st.lists(st.sampled_from([b"\r\n", b"--x", b"-", b"\r", b"\n", b"\0", b"{}", b"x"]))
    .map(b"".join)
    .filter(lambda data: b"\r\n--x" not in data)
)


@given(nearly_boundaries, st.integers(1, 40))
def test_a_form_is_parsed_wherever_its_bytes_are_split(data, step):
    body = BEGIN + data + END
    form = UploadForm(FORM["content-type"])
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    found = b"".join(piece for part in pieces for piece in form.feed(part))
    assert found == data
    assert form.is_complete
    assert form.fields == {"purpose": "batch"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.binary(max_size=300_000))
def test_any_content_is_returned_unchanged(served, data):
    file_id = served.upload(data, purpose="user_data")
    response = served.client.get(f"/v1/files/{file_id}/content")
    assert response.content == data


def test_fields_may_follow_the_file(served):
    body = (
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"'
        b"\r\n\r\n{}\r\n"
        b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nevals\r\n--x--'
    )
    response = served.client.post("/v1/files", content=body, headers=FORM)
    assert response.json()["purpose"] == "evals"


@pytest.mark.parametrize(
    ("data", "lines"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"\n\n", 2)]
)
def test_lines_are_counted(served, data, lines):
    file_id = served.upload(data)
    assert served.context.ledger("default").file(file_id).lines == lines


def test_a_file_with_too_many_lines_cannot_be_an_input(serve):
    served = serve(max_batch_requests=2)
    assert served.create(served.upload(LINE * 2)).status_code == 200
    response = served.create(served.upload(LINE * 3))
    assert response.status_code == 400
    assert error_of(response)["code"] == "too_many_requests"


def test_an_excessive_content_length_is_rejected_before_the_upload(serve):
    served = serve(max_file_bytes=1_000_000)
    response = served.client.post(
        "/v1/files",
        files={"file": ("a.jsonl", b"x" * 20_000_000)},
        data={"purpose": "batch"},
    )
    assert response.status_code == 413
    assert error_of(response)["code"] == "file_too_large"
    assert served.stored() == []


def test_a_chunked_upload_is_rejected_once_it_exceeds_the_limit(serve):
    served = serve(max_file_bytes=1_000_000)

    def body():
        yield BEGIN
        for _ in range(100):
            yield b"x" * 100_000

    response = served.client.post("/v1/files", content=body(), headers=FORM)
    assert response.status_code == 413
    assert served.stored() == []


def open_upload(served):
    """Send the head of a long upload; return the connection."""
    stream = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    head = (
        "POST /v1/files HTTP/1.1\r\nhost: localhost\r\n"
        f"content-type: {FORM['content-type']}\r\ncontent-length: 99999999\r\n\r\n"
    )
    stream.sendall(head.encode())
    return stream


@pytest.mark.parametrize("sent", [0, 10, len(BEGIN), 100_000, 6_000_000])
def test_an_interrupted_upload_leaves_nothing(serve, tmp_path, sent):
    served = serve(LocalStorage(tmp_path / "storage"))
    with open_upload(served) as stream:
        stream.sendall((BEGIN + b"x" * 6_000_000)[:sent])
        wait_until(lambda: not sent > len(BEGIN) or partial_files(tmp_path))
    wait_until(lambda: not partial_files(tmp_path))
    assert served.stored() == []
    assert served.client.get("/v1/files").json()["data"] == []


def partial_files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_an_idle_upload_times_out(serve):
    served = serve(upload_idle_timeout_seconds=0.2)
    with open_upload(served) as stream:
        stream.sendall(BEGIN)
        response = HTTPResponse(stream)
        response.begin()
        assert response.status == 408
        assert json.load(response)["error"]["code"] == "request_timeout"
    assert served.stored() == []


def test_a_slow_upload_times_out(serve):
    served = serve(upload_idle_timeout_seconds=0.3)

    def body():
        yield BEGIN
        for _ in range(100):
            time.sleep(0.05)
            yield b"x"

    response = served.client.post("/v1/files", content=body(), headers=FORM)
    assert response.status_code == 408
    assert served.stored() == []


class FullStorage(MemoryStorage):
    """A storage without free space."""

    def writer(self, key):
        raise StorageFullError(f"no room to write `{key}`")


def test_a_full_storage_is_a_server_error(serve):
    served = serve(FullStorage())
    response = served.client.post(
        "/v1/files", files={"file": ("a", LINE)}, data={"purpose": "batch"}
    )
    assert response.status_code == 503
    assert error_of(response)["code"] == "storage_full"


class BrokenStorage(MemoryStorage):
    """A storage whose code has a bug."""

    def writer(self, key):
        raise ZeroDivisionError(key)


def test_a_bug_is_a_500_without_details(serve):
    served = serve(BrokenStorage())
    response = served.client.post(
        "/v1/files", files={"file": ("a", LINE)}, data={"purpose": "batch"}
    )
    assert response.status_code == 500
    assert error_of(response)["message"] == "Internal server error."
    assert response.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("asked", "status", "got"),
    [
        ("bytes=0-0", 206, b"0"),
        ("bytes=2-4", 206, b"234"),
        ("bytes=5-", 206, b"56789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=-99", 206, b"0123456789"),
        ("bytes=8-99", 206, b"89"),
        ("bytes=0-1,4-5", 200, b"0123456789"),
        ("bytes=4-2", 200, b"0123456789"),
        ("bytes=-", 200, b"0123456789"),
        ("lines=0-1", 200, b"0123456789"),
        ("bytes=" + "9" * 400 + "-", 200, b"0123456789"),
    ],
)
def test_ranges_follow_rfc_9110(served, asked, status, got):
    file_id = served.upload(b"0123456789")
    place = f"/v1/files/{file_id}/content"
    response = served.client.get(place, headers={"range": asked})
    assert (response.status_code, response.content) == (status, got)
    assert response.headers["content-length"] == f"{len(got)}"


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_after_the_end_is_not_satisfiable(served, asked):
    file_id = served.upload(b"0123456789")
    place = f"/v1/files/{file_id}/content"
    response = served.client.get(place, headers={"range": asked})
    assert response.status_code == 416
    assert response.headers["content-range"] == "bytes */10"
    error_of(response)


def test_content_that_matches_if_none_match_is_not_sent(served):
    place = f"/v1/files/{served.upload(b'0123456789')}/content"
    tag = served.client.get(place).headers["etag"]
    for same in (tag, f'"other", W/{tag}', "*"):
        response = served.client.get(place, headers={"if-none-match": same})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag
    response = served.client.get(place, headers={"if-none-match": '"other"'})
    assert (response.status_code, response.content) == (200, b"0123456789")


def test_if_range_of_another_file_sends_the_whole_file(served):
    place = f"/v1/files/{served.upload(b'0123456789')}/content"
    tag = served.client.get(place).headers["etag"]
    for begun, status, got in ((tag, 206, b"23"), ('"other"', 200, b"0123456789")):
        headers = {"range": "bytes=2-3", "if-range": begun}
        response = served.client.get(place, headers=headers)
        assert (response.status_code, response.content) == (status, got)


def test_head_returns_the_size_of_a_file(served):
    place = f"/v1/files/{served.upload(b'0123456789')}/content"
    response = served.client.head(place)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == "10"
    assert response.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("place", ["/healthz", "/readyz"])
def test_probes_support_head(served, place):
    assert served.client.head(place).status_code == 200
