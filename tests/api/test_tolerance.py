"""Requests that clients send, although OpenAI's own clients do not."""

import pytest

from tests.api.api_server import LINE, URL, error_of
from tests.support.ended import Hand

FORM = {"content-type": "multipart/form-data; boundary=x"}


def upload(served, disposition):
    """Upload a file with the given parameters of its Content-Disposition."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; ' + disposition
    purpose = b'\r\n--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch'
    body = head + b"\r\n\r\n" + LINE + purpose + b"\r\n--x--\r\n"
    return served.client.post("/v1/files", content=body, headers=FORM)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (rb'filename="a\"b\"c.jsonl"', 'a"b"c.jsonl'),
        (rb'filename="C:\\data\\in.jsonl"', "in.jsonl"),
        (rb'filename="C:\data\new.jsonl"', "new.jsonl"),
        (b'filename="/srv/data/in.jsonl"', "in.jsonl"),
        (b'filename="../up.jsonl"', "up.jsonl"),
        (b'filename="data/"', "data"),
        (b'filename="in;1.jsonl"', "in;1.jsonl"),
        (b"filename=in.jsonl", "in.jsonl"),
        ('filename="zwölf.jsonl"'.encode(), "zwölf.jsonl"),
        (b"filename*=UTF-8''zw%C3%B6lf.jsonl", "zwölf.jsonl"),
        (b"filename=\"x\"; filename*=utf-8''a%2Fb.jsonl", "b.jsonl"),
        (b"filename*=iso-8859-1'de'zw%F6lf.jsonl; filename=x", "zwölf.jsonl"),
    ],
)
def test_a_file_name_is_the_last_component_of_what_was_sent(served, disposition, name):
    response = upload(served, disposition)
    assert response.status_code == 200, response.text
    assert response.json()["filename"] == name


@pytest.mark.parametrize(
    "disposition",
    [
        b'filename=""',
        b'filename=".."',
        b'filename="a/.."',
        b'filename="/"',
        rb'filename="\\"',
        b'filename="a\xff.jsonl"',
        b"filename*=UTF-8''%FF",
        b"filename*=unknown''a",
        b"filename*=a",
        b'filename="a/\x7f"',
        b'filename="%b"' % (b"x" * 256),
    ],
)
def test_a_file_name_without_a_valid_last_component_is_rejected(served, disposition):
    response = upload(served, disposition)
    assert response.status_code == 400
    assert error_of(response)["param"] == "file"


@pytest.mark.parametrize("name", ["in.jsonl", 'q"u\\o%t.jsonl', "zwölf 二.jsonl"])
def test_downloads_have_a_plain_and_an_encoded_file_name(served, name):
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').encode()
    shown = upload(served, b'filename="%b"' % escaped).json()
    response = served.client.get(f"/v1/files/{shown['id']}/content")
    disposition = response.headers["content-disposition"]
    plain, encoded = disposition.removeprefix("attachment; ").split("; ")
    assert plain.startswith('filename="')
    assert plain.endswith('.jsonl"')
    assert plain.count('"') == 2
    assert encoded.startswith("filename*=UTF-8''")
    again = upload(served, encoded.encode()).json()
    assert again["filename"] == shown["filename"]


def test_parquet_results_have_a_plain_and_an_encoded_file_name(served):
    batch_id = Hand(storage=served.storage).ended(LINE).batch.id
    place = f"/v1/batches/{batch_id}/results?format=parquet"
    name = f"{batch_id}.parquet"
    assert served.client.get(place).headers["content-disposition"] == (
        f"attachment; filename=\"{name}\"; filename*=UTF-8''{name}"
    )


def test_a_trailing_slash_is_ignored(served):
    client = served.client
    files = {"file": ("in.jsonl", LINE)}
    stored = client.post("/v1/files/", files=files, data={"purpose": "batch"})
    assert stored.status_code == 200
    file_id = stored.json()["id"]
    asked = {"input_file_id": file_id, "endpoint": URL, "completion_window": "24h"}
    batch = client.post("/v1/batches/", json=asked | {"model": "m"})
    assert batch.status_code == 200
    for path in (
        "files/",
        f"files/{file_id}/",
        f"files/{file_id}/content//",
        "batches/?limit=1",
        f"batches/{batch.json()['id']}/",
        "models/",
        "models/m/",
    ):
        response = client.get(f"/v1/{path}")
        assert response.status_code == 200, path
    assert client.get("/healthz/").status_code == 200
    assert error_of(client.get("/v1/nothing/"))["code"] == "unknown_url"
    assert client.get("/").status_code == client.get("//").status_code


@pytest.mark.parametrize(
    ("window", "seconds"),
    [
        ("1h", 3_600),
        ("60m", 3_600),
        ("3600s", 3_600),
        ("90m", 5_400),
        ("24h", 86_400),
        ("36h", 129_600),
        ("1d12h", 129_600),
        ("7d", 604_800),
        ("30d", 2_592_000),
    ],
)
def test_a_completion_window_may_be_any_duration_from_an_hour_to_30_days(
    served, window, seconds
):
    batch_id = served.batch(completion_window=window)
    batch = served.client.get(f"/v1/batches/{batch_id}").json()
    assert batch["completion_window"] == window
    assert batch["expires_at"] - batch["created_at"] == seconds


@pytest.mark.parametrize(
    "window", ["", "0h", "59m", "31d", "721h", "24", "24x", "-24h", "1.5h", "{}", 24]
)
def test_a_completion_window_outside_the_range_is_rejected(served, window):
    response = served.create(served.upload(), model="m", completion_window=window)
    assert response.status_code == 400
    error = error_of(response)
    assert error["param"] == "completion_window"
    if isinstance(window, str):
        assert "from 1h to 30d" in error["message"]
