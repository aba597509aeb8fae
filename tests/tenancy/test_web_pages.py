"""Web pages and proxies do not reach a server that needs no API key."""

import json
from contextlib import closing

import pytest

from tests.api.api_server import ApiServer
from tests.tenancy.raw_http import exchange, request_bytes

ROUTES = [
    *("/v1/files", "/v1/batches", "/v1/models", "/v1/webhook_endpoints"),
    *("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"),
    *("/docs/swagger-ui-bundle.js", "/", "/nothing", "/v1/files/", "/v1/files/../.."),
]
FOREIGN_HOSTS = [
    "attacker.example",
    "attacker.example:{port}",
    "localhost.attacker.example",
    "127.0.0.1.attacker.example:{port}",
    "attacker.example#localhost",
    "attacker.example?localhost",
    "attacker.example/localhost",
    "localhost@attacker.example",
    "attacker.example@localhost",
    "localhost:attacker.example",
    "localhost:99999",
    "localhost:",
    "localhost:80:80",
    "127.0.0.1,attacker.example",
    "0.0.0.0:{port}",
    "192.168.0.7",
    "[::2]:{port}",
    "[::1",
    "::1",
    "[::1]attacker.example",
    "[::1%25lo]",
    "localhost, attacker.example",
    "",
]
LOCAL_HOSTS = [
    "localhost",
    "LocalHost:{port}",
    "localhost:9000",
    "127.0.0.1",
    "127.0.0.1:{port}",
    "127.8.8.8",
    "[::1]",
    "[::1]:{port}",
]
PROXY_HEADERS = [
    "forwarded: for=10.0.0.1",
    "x-forwarded-for: 10.0.0.1",
    "x-forwarded-host: localhost",
    "x-forwarded-proto: https",
    "x-forwarded-anything: 1",
    "X-FORWARDED-FOR: 127.0.0.1",
    "via: 1.1 proxy",
    "x-real-ip: 127.0.0.1",
    "cf-connecting-ip: 10.0.0.1",
    "forwarded:",
]
FOREIGN_PAGES = [
    "origin: https://attacker.example",
    "origin: null",
    "origin: http://localhost:1",
    "origin: https://127.0.0.1:{port}",
    "origin: http://localhost:{port}",
    "origin: http://127.0.0.1:{port}/",
    "origin: http://127.0.0.1:{port}\r\norigin: https://attacker.example",
    "origin:",
    "sec-fetch-site: cross-site",
    "sec-fetch-site: same-site",
]


@pytest.fixture(scope="module")
def server():
    with closing(ApiServer(metrics=True)) as served:
        yield served


@pytest.fixture(scope="module")
def keyed():
    with closing(ApiServer(metrics=True)) as served:
        served.key("default")
        yield served


def ask(server, target, *headers, **how):
    """Send headers in which `{port}` is the server's."""
    filled = [header.replace("{port}", f"{server.port}") for header in headers]
    return exchange(server.port, request_bytes(target, *filled, **how))


def assert_refused(response):
    assert response.status == 403
    error = json.loads(response.body)["error"]
    assert error["code"] == "keys_needed"
    assert "batchchat keys create" in error["message"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_foreign_host_is_refused_on_every_route(server, route, version):
    assert_refused(ask(server, route, "host: attacker.example", version=version))


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_every_form_of_a_foreign_host_is_refused(server, host):
    assert_refused(ask(server, "/v1/files", f"host: {host}"))


@pytest.mark.parametrize("host", LOCAL_HOSTS)
@pytest.mark.parametrize("route", ["/v1/files", "/healthz", "/docs"])
def test_the_names_of_this_machine_are_accepted(server, route, host):
    assert ask(server, route, f"host: {host}").status == 200


def test_http_1_0_without_a_host_is_refused(server):
    assert_refused(ask(server, "/v1/files", version="1.0"))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_two_hosts_are_refused(server, version):
    response = ask(
        server, "/v1/files", "host: localhost", "host: localhost", version=version
    )
    assert response.status in {400, 403}


@pytest.mark.parametrize(
    "target",
    [
        "http://attacker.example/v1/files",
        "http://127.0.0.1/v1/files",
        "https://localhost/healthz",
        "//attacker.example/v1/files",
    ],
)
def test_a_target_that_names_a_server_gets_no_data(server, target):
    response = ask(server, target, "host: localhost")
    assert response.status in {403, 404}
    assert "error" in json.loads(response.body)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("header", PROXY_HEADERS[:1] + FOREIGN_PAGES[:1])
def test_proxies_and_pages_are_refused_on_every_route(server, route, header):
    assert_refused(ask(server, route, "host: 127.0.0.1:{port}", header))


@pytest.mark.parametrize("header", PROXY_HEADERS + FOREIGN_PAGES)
def test_every_trace_of_a_proxy_or_page_is_refused(server, header):
    assert_refused(ask(server, "/v1/files", "host: 127.0.0.1:{port}", header))


@pytest.mark.parametrize("header", ["origin: null", "via: 1.1 proxy"])
def test_a_refused_request_changes_nothing(server, header):
    before = server.stored()
    for method, target, body in (
        ("POST", "/v1/batches", b"{}"),
        ("DELETE", "/v1/files/file_" + "0" * 32, b""),
        ("OPTIONS", "/v1/batches", b""),
    ):
        kind = "content-type: application/json"
        host = "host: localhost"
        assert_refused(
            ask(server, target, host, kind, header, method=method, body=body)
        )
    assert server.stored() == before


@pytest.mark.parametrize(
    "header",
    [
        "origin: http://127.0.0.1:{port}",
        "sec-fetch-site: same-origin",
        "sec-fetch-site: none",
        "referer: https://wiki.example",
    ],
)
def test_the_servers_own_page_is_accepted(server, header):
    assert ask(server, "/v1/files", "host: 127.0.0.1:{port}", header).status == 200


@pytest.mark.parametrize("header", PROXY_HEADERS + FOREIGN_PAGES)
def test_a_server_with_keys_may_be_behind_a_proxy(keyed, header):
    response = ask(keyed, "/healthz", "host: batch.example", header)
    assert response.status == 200
    assert ask(keyed, "/v1/files", "host: batch.example", header).status == 401


@pytest.mark.parametrize(
    "kinds",
    [
        [],
        ["text/plain"],
        ["application/x-www-form-urlencoded"],
        ["multipart/form-data; boundary=x"],
        ["application/json", "text/plain"],
        ["text/plain; application/json"],
        ["application/json, text/plain"],
        [""],
    ],
)
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v1/batches"),
        ("POST", f"/v1/batches/batch_{'0' * 32}/cancel"),
        ("POST", f"/v1/batches/batch_{'0' * 32}/retry"),
        ("POST", "/v1/webhook_endpoints"),
        ("POST", f"/v1/webhook_endpoints/webhook_{'0' * 32}/rotate_secret"),
        ("DELETE", f"/v1/files/file_{'0' * 32}"),
    ],
)
def test_a_body_that_is_not_marked_as_json_is_refused(server, method, target, kinds):
    headers = [f"content-type: {kind}" for kind in kinds]
    response = ask(
        server, target, "host: localhost", *headers, method=method, body=b"{}"
    )
    assert response.status == 415
    error = json.loads(response.body)["error"]
    assert error["code"] == "unsupported_content_type"
