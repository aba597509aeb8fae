"""Uploads of gzip, by content and by encoding, and of other formats than JSON lines."""

import gzip
import zlib

import httpx
import pyarrow as pa
import pytest

from batchchat.jobs.storage import LocalStorage
from tests.api.api_server import LINE, URL, error_of

LINES = LINE * 3
SPACE = b" " * 9_000_000
BOMB = gzip.compress(b" " * 3_000_000)


def upload(served, data, *, name="in.jsonl.gz", purpose="batch", file_first=False):
    parts = [("purpose", (None, purpose)), ("file", (name, data))]
    return served.client.post("/v1/files", files=parts[:: -1 if file_first else 1])


def form(data):
    """Return the body and headers of an upload."""
    files = {"file": ("in.jsonl", data)}
    request = httpx.Request("POST", "http://x", files=files, data={"purpose": "batch"})
    return request.read(), {"content-type": request.headers["content-type"]}


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize(("pack", "end"), [(gzip.compress, "gz"), (zstd, "zst")])
@pytest.mark.parametrize("file_first", [False, True])
def test_a_compressed_upload_is_stored_as_text(serve, tmp_path, pack, end, file_first):
    served, name = serve(LocalStorage(tmp_path)), f"in.jsonl.{end}"
    shown = upload(served, pack(LINES), name=name, file_first=file_first).json()
    assert (shown["bytes"], shown["filename"]) == (len(LINES), "in.jsonl")
    content = served.client.get(f"/v1/files/{shown['id']}/content")
    assert content.content == LINES
    assert len(served.stored()) == 2
    assert served.context.ledger("default").file(shown["id"]).lines == 3
    batch = served.create(shown["id"], model="m")
    assert batch.status_code == 200


def test_a_gzip_file_keeps_its_expiry(served):
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    shown = served.client.post(
        "/v1/files",
        files={"file": ("in.gz", gzip.compress(LINES))},
        data={"purpose": "batch"} | fields,
    ).json()
    assert shown["expires_at"] - shown["created_at"] == 3_600


def test_gzip_for_another_purpose_is_stored_unchanged(served):
    data = gzip.compress(LINES)
    shown = upload(served, data, purpose="user_data").json()
    assert shown["filename"] == "in.jsonl.gz"
    assert served.client.get(f"/v1/files/{shown['id']}/content").content == data


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (gzip.compress(LINES)[:-9], 400, "truncated"),
        (gzip.compress(LINES)[:20] + b"x" * 99, 400, "damaged"),
        (zstd(LINES)[:-9], 400, "truncated"),
        (zstd(LINES)[:12] + b"x" * 99, 400, "damaged"),
        (BOMB, 413, "1,000,000 bytes"),
        (zstd(b" " * 3_000_000), 413, "1,000,000 bytes"),
        (b"PK\x03\x04" + b"x" * 99, 400, "zip archive: convert it: `unzip -p"),
        (zstd(b"BZh" + bytes(99)), 400, "bzip2 data: convert it: `zstd -dc"),
    ],
)
@pytest.mark.parametrize("file_first", [False, True])
def test_an_unusable_file_is_rejected_and_not_stored(
    serve, data, status, words, file_first
):
    served = serve(max_file_bytes=1_000_000)
    response = upload(served, data, file_first=file_first)
    assert response.status_code == status
    error = error_of(response)
    assert error["param"] == "file"
    assert words in error["message"]
    assert served.stored() == []


TABLE = b"question,answer\na,b\nc,d\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[" + LINE + b"]", "JSON array: convert it: `jq -c"),
        (LINES.decode().encode("utf-16"), "UTF-16 text: convert it: `iconv"),
        (b"PAR1" + bytes(99), "a Parquet file: make a request of each row: `--prompt"),
        (b"ARROW1" + bytes(99), "an Arrow file: make a request of each row"),
        (
            TABLE,
            "CSV with the columns `question`, `answer`: make a request of each row",
        ),
        (gzip.compress(TABLE), "--prompt '{{ question }}'`"),
    ],
)
def test_a_file_of_rows_is_stored_but_is_no_file_of_requests(served, data, words):
    file = upload(served, data).json()
    response = served.create(file["id"], model="m")
    assert response.status_code == 400
    error = error_of(response)
    assert (error["param"], error["code"]) == ("input_file_id", "invalid_file")
    assert words in error["message"]
    assert "over the API, `rows`" in error["message"] or "convert it" in words


def test_a_compressed_file_of_rows_is_stored_as_it_was(served):
    for data in (gzip.compress(TABLE), zstd(TABLE)):
        file = upload(served, data).json()
        content = served.client.get(f"/v1/files/{file['id']}/content")
        assert content.content == TABLE


def test_a_file_in_any_format_is_stored_for_another_purpose(served):
    for data in (b"PK\x03\x04", b"[1]"):
        assert upload(served, data, purpose="user_data").status_code == 200


@pytest.mark.parametrize("data", [LINES, gzip.compress(LINES)])
def test_the_body_of_an_upload_may_be_compressed(served, data):
    body, headers = form(data)
    headers["content-encoding"] = "gzip"
    response = served.client.post(
        "/v1/files", content=gzip.compress(body), headers=headers
    )
    assert response.status_code == 200, response.text
    content = served.client.get(f"/v1/files/{response.json()['id']}/content")
    assert content.content == LINES


def test_a_json_body_may_be_compressed(served):
    asked = {"input_file_id": served.upload(), "endpoint": URL, "model": "m"}
    body = httpx.Request("POST", "http://x", json=asked | {"completion_window": "24h"})
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    response = served.client.post(
        "/v1/batches", content=gzip.compress(body.read()), headers=headers
    )
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("encoding", "change", "refused"),
    [
        ("gzip", lambda body: gzip.compress(body)[:-9], (400, "invalid_encoding")),
        ("gzip", lambda body: body, (400, "invalid_encoding")),
        (
            "gzip",
            lambda body: gzip.compress(body + b" " * 9_000_000),
            (413, "body_too_large"),
        ),
        ("br", lambda body: body, (415, "unsupported_encoding")),
        ("deflate", zlib.compress, (415, "unsupported_encoding")),
        ("gzip, gzip", lambda body: body, (415, "unsupported_encoding")),
    ],
)
@pytest.mark.parametrize("path", ["files", "batches"])
def test_a_badly_encoded_body_is_rejected(serve, path, encoding, change, refused):
    served = serve(max_file_bytes=1_000_000)
    body, headers = form(LINES)
    if path == "batches":
        body, headers = b"{}", {"content-type": "application/json"}
    headers["content-encoding"] = encoding
    response = served.client.post(f"/v1/{path}", content=change(body), headers=headers)
    assert (response.status_code, error_of(response)["code"]) == refused
    assert served.stored() == []
