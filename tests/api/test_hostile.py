"""Malicious and malformed requests get a 4xx with a message and store nothing."""

import json
import socket
from contextlib import suppress
from time import sleep

import httpx
import pytest

from tests.api.api_server import LINE, ApiServer, error_of

ID = "batch_" + "0" * 32
TRICKS = [
    "..",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "batch_..%2f..%2fx",
    "batch_%00",
    ID + "%00",
    ID + "%2f..%2f..",
    ID + "%0a",
    ID.upper(),
    ID + "0",
    "file_" + "٣" * 32,
    "x" * 5_000,
    "%ff%fe",
    "*",
    "~root",
    "C:%5c",
]
PLACES = [
    ("get", "/v1/files/{}"),
    ("delete", "/v1/files/{}"),
    ("get", "/v1/files/{}/content"),
    ("get", "/v1/batches/{}"),
    ("post", "/v1/batches/{}/cancel"),
    ("post", "/v1/batches/{}/retry"),
    ("get", "/v1/batches/{}/results"),
    ("get", "/v1/models/{}"),
    ("get", "/v1/webhook_endpoints/{}"),
    ("post", "/v1/webhook_endpoints/{}/rotate_secret"),
]


@pytest.fixture(scope="module")
def server():
    served = ApiServer(metrics=True)
    yield served
    served.close()


@pytest.fixture
def unchanged(server):
    before = server.stored()
    yield
    assert server.stored() == before


pytestmark = pytest.mark.usefixtures("unchanged")


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize(("method", "place"), PLACES)
def test_a_malicious_id_is_not_found(server, method, place, trick):
    response = server.client.request(method, place.format(trick))
    assert response.status_code in {404, 405}
    error_of(response)


@pytest.mark.parametrize("file_id", ["file-abc123", "file_" + "0" * 32])
@pytest.mark.parametrize("place", ["", "/content"])
def test_a_missing_file_has_openais_error_message(server, file_id, place):
    response = server.client.get(f"/v1/files/{file_id}{place}")
    assert error_of(response)["message"] == f"No such File object: {file_id}"


@pytest.mark.parametrize("trick", ["../x", "", "batch_1", "%00", "x" * 9_999])
@pytest.mark.parametrize("place", ["files", "batches", "webhook_endpoints"])
def test_a_malicious_cursor_is_not_found(server, place, trick):
    response = server.client.get(f"/v1/{place}", params={"after": trick})
    assert response.status_code == 404
    error_of(response)


@pytest.mark.parametrize(
    "name",
    [
        "../..",
        "/",
        "a/.",
        "..\\..",
        "..",
        ".",
        "a\x7fb",
        "\u202egnp.exe",
        "x" * 256,
    ],
)
def test_a_malicious_filename_is_rejected(server, name):
    response = server.client.post(
        "/v1/files", files={"file": (name, LINE)}, data={"purpose": "batch"}
    )
    assert response.status_code == 400
    assert error_of(response)["param"] == "file"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../up.jsonl", "up.jsonl"),
        ("/etc/passwd", "passwd"),
        ("a/b.jsonl", "b.jsonl"),
        ("..\\up.jsonl", "up.jsonl"),
        ("C:\\x.jsonl", "x.jsonl"),
    ],
)
def test_a_malicious_path_is_reduced_to_a_filename(sent, kept):
    served = ApiServer()
    try:
        file = served.client.post(
            "/v1/files", files={"file": (sent, LINE)}, data={"purpose": "batch"}
        )
    finally:
        served.close()
    assert file.json()["filename"] == kept


NESTED = b'{"metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (NESTED, 400),
        (b'{"metadata":' * 80_000, 400),
        (b'{"seed": NaN}', 400),
        (b'{"seed": 1e999}', 400),
        (b'{"model": "\xff"}', 400),
        (b'{"model": "\\ud800"}', 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b"{", 400),
        (b"", 400),
        (b"\x00", 400),
        (b'{"x":"' + b"x" * 1_100_000 + b'"}', 413),
    ],
)
def test_an_excessive_body_is_rejected(server, body, status):
    headers = {"content-type": "application/json"}
    response = server.client.post("/v1/batches", content=body, headers=headers)
    assert response.status_code == status
    error_of(response)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "x", "json"])
def test_a_body_of_another_content_type_is_rejected(server, kind):
    headers = {"content-type": kind}
    response = server.client.post("/v1/batches", content=b"{}", headers=headers)
    assert response.status_code == 415
    error_of(response)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "multipart/form-data",
        "multipart/mixed; boundary=x",
        "application/x-www-form-urlencoded",
        f"multipart/form-data; boundary={'x' * 5_000}",
        "",
    ],
)
def test_an_upload_of_another_content_type_is_rejected(server, kind):
    headers = {"content-type": kind}
    response = server.client.post("/v1/files", content=b"x", headers=headers)
    assert response.status_code in {400, 415}
    error_of(response)


def form(*parts, end=b"--x--\r\n"):
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + end


FILE = b'content-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}'
PURPOSE = b'content-disposition: form-data; name="purpose"\r\n\r\nbatch'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        form(),
        form(FILE),
        form(PURPOSE),
        form(FILE, PURPOSE, end=b""),
        form(FILE, FILE, PURPOSE),
        form(PURPOSE, FILE.replace(b'; filename="a.jsonl"', b"")),
        form(PURPOSE, FILE, b'content-disposition: form-data; name="x"\r\n\r\n1'),
        form(PURPOSE.replace(b"batch", b"nothing"), FILE),
        form(PURPOSE.replace(b"batch", b"b" * 2_000), FILE),
        form(PURPOSE.replace(b"batch", b"\xff"), FILE),
        form(b"content-disposition: form-data\r\n\r\nx", PURPOSE, FILE),
        form(b"\r\nx", PURPOSE, FILE),
        form(b"x" * 20_000 + b": y\r\n\r\nx", PURPOSE, FILE),
        form(*[b"a: b\r\n" * 50 + PURPOSE], FILE),
        form(*[PURPOSE] * 40, FILE),
        form(FILE.replace(b"a.jsonl", b"a\xff.jsonl"), PURPOSE),
    ],
)
def test_a_malformed_form_is_rejected(server, body):
    headers = {"content-type": "multipart/form-data; boundary=x"}
    response = server.client.post("/v1/files", content=body, headers=headers)
    assert response.status_code == 400
    error_of(response)


def raw(server, request):
    """Return the raw response to bytes that may not be valid HTTP."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
        response = b""
        with suppress(ConnectionError, OSError):  # it may close before it has read all
            stream.sendall(request)
            stream.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while some := stream.recv(65_536):
                response += some
        return response


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/files HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 200_000,
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /v1/files HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"POST /v1/batches HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
    ],
)
def test_malformed_http_gets_an_error_in_openais_format(server, request_):
    head, _, body = raw(server, request_).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 4")
    assert json.loads(body)["error"]["message"]


def test_unknown_methods_share_one_metric_series(server):
    for number in range(3):
        request = f"MADEUP{number} /healthz HTTP/1.1\r\nhost: localhost\r\n"
        raw(server, request.encode() + b"connection: close\r\n\r\n")
    text = server.client.get("/metrics").text
    assert "MADEUP" not in text
    assert 'method="other"' in text


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /heal",
    ],
)
def test_an_incomplete_request_head_times_out(server, monkeypatch, sent):
    monkeypatch.setattr(
        "batchchat.api.server.uvicorn_server._HEADER_TIMEOUT_SECONDS", 0.2
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        whole, _, part = sent.partition(b"\r\n\r\n")
        if part:
            connection.sendall(whole + b"\r\n\r\n")
            connection.recv(65_536)
        connection.sendall(part or sent)
        while connection.recv(65_536):
            pass


def test_a_slow_request_body_does_not_hit_the_header_timeout(server, monkeypatch):
    monkeypatch.setattr(
        "batchchat.api.server.uvicorn_server._HEADER_TIMEOUT_SECONDS", 0.2
    )

    def slow():
        for piece in (b"{", b" ", b"}"):
            sleep(0.2)
            yield piece

    headers = {"content-type": "application/json"}
    response = server.client.post("/v1/batches", content=slow(), headers=headers)
    assert response.status_code == 400


def test_an_excess_connection_is_a_503_with_retry_after(server, monkeypatch):
    with socket.create_connection(("127.0.0.1", server.port)):
        monkeypatch.setattr("batchchat.api.server.uvicorn_server._MAX_CONNECTIONS", 0)
        response = httpx.get(f"{server.url}/healthz")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert error_of(response)["code"] == "too_many_connections"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v2/files", "/v1/file/"])
def test_an_unknown_url_is_not_found(server, path):
    response = server.client.get(path)
    assert response.status_code == 404
    assert error_of(response)["code"] == "unknown_url"


@pytest.mark.parametrize("method", ["put", "patch", "options", "delete"])
def test_an_unsupported_method_is_rejected(server, method):
    response = server.client.request(method, "/v1/batches")
    assert response.status_code == 405
    assert error_of(response)["code"] == "method_not_allowed"
    assert "GET" in response.headers["allow"]
