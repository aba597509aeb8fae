"""Responses are neither cached nor framed, and /docs loads nothing from elsewhere."""

import json
import re
from contextlib import closing

import pytest

from tests.api.api_server import ApiServer
from tests.tenancy.raw_http import exchange, request_bytes

HOST = "host: localhost"
OTHER_SERVER = re.compile(rb"(?:src|href|action)=[\"']?(?:https?:)?//", re.IGNORECASE)


@pytest.fixture(scope="module")
def server():
    with closing(ApiServer()) as served:
        yield served


@pytest.mark.parametrize(
    "request_",
    [
        request_bytes("/v1/files", HOST),
        request_bytes("/healthz", HOST),
        request_bytes("/docs", HOST),
        request_bytes("/openapi.json", HOST),
        request_bytes("/nothing", HOST),
        request_bytes("/v1/batches", HOST, method="PUT"),
        request_bytes("/v1/files", "host: attacker.example"),
        request_bytes("/v1/batches", HOST, method="POST", body=b"{}"),
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_every_response_has_the_security_headers(server, request_):
    headers = exchange(server.port, request_).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_an_excess_connection_gets_the_security_headers(server, monkeypatch):
    monkeypatch.setattr("batchchat.api.server.uvicorn_server._MAX_CONNECTIONS", 0)
    response = exchange(server.port, request_bytes("/healthz", HOST))
    assert response.status == 503
    assert response.headers["x-content-type-options"] == "nosniff"


def test_the_documentation_loads_nothing_from_other_servers(server):
    page = exchange(server.port, request_bytes("/docs", HOST))
    assert not OTHER_SERVER.search(page.body)
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    scripts = re.findall(rb"<script([^>]*)>([^<]*)</script>", page.body)
    assert scripts
    for attributes, text in scripts:
        assert not text, "the policy forbids scripts in the page"
        source = re.search(rb'src="([^"]+)"', attributes)
        assert source is not None
        assert exchange(server.port, request_bytes(source[1].decode(), HOST)).body
    assert b"validatorUrl: null" in server.client.get("/docs/start.js").content


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect", "/docs/x.js"])
def test_there_is_no_other_documentation_page(server, path):
    assert exchange(server.port, request_bytes(path, HOST)).status == 404


def test_metrics_are_off_unless_the_operator_turns_them_on(server):
    response = exchange(server.port, request_bytes("/metrics", HOST))
    assert response.status == 404
    assert json.loads(response.body)["error"]["code"] == "unknown_url"
    assert "/metrics" not in server.client.get("/openapi.json").json()["paths"]
    with closing(ApiServer(metrics=True)) as served:
        assert "batchchat_http_requests" in served.client.get("/metrics").text
