"""Authentication with API keys."""

import pytest

from tests.api.api_server import error_of


def ask(served, **headers):
    return served.client.get("/v1/models", headers=headers)


def test_a_loopback_server_without_keys_needs_none(served):
    assert ask(served).status_code == 200
    assert ask(served, authorization="Bearer anything").status_code == 200


def test_a_loopback_server_with_a_key_requires_it(serve):
    served = serve()
    key = served.key("p")
    assert ask(served).status_code == 401
    assert ask(served, **key).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "Bearer",
        "Basic dXNlcjpwYXNz",
        "Bearer bc_",
        "Bearer bc_0123456789abcdef_",
        "Bearer bc_0123456789abcdef_x",
        "Bearer bc_../../etc_x",
        "Bearer " + "x" * 10_000,
        "Bearer bc_ÄÖ_x".encode(),
    ],
)
def test_a_wrong_key_is_rejected(serve, sent):
    served = serve(loopback_only=False)
    served.key("p")
    response = ask(served, authorization=sent)
    assert response.status_code == 401
    assert error_of(response)["code"] == "invalid_api_key"
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_key_with_a_changed_ending_is_rejected(serve):
    served = serve(loopback_only=False)
    key = served.key("p")["authorization"]
    assert ask(served, authorization=key).status_code == 200
    other = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert ask(served, authorization=other).status_code == 401


def test_a_revoked_key_is_rejected(serve):
    served = serve(loopback_only=False)
    key, text = served.context.keys.create("p")
    served.context.keys.revoke(key.id)
    assert ask(served, authorization=f"Bearer {text}").status_code == 401


def test_stored_key_data_does_not_authenticate(serve):
    served = serve(loopback_only=False)
    key, text = served.context.keys.create("p")
    stored = served.storage.get(f"keys/{key.id}/key.json").decode()
    assert text not in stored
    assert text.rpartition("_")[2] not in stored
    assert ask(served, authorization=f"Bearer {key.sha256}").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:8000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_web_page_cannot_use_a_server_without_keys(served, headers):
    response = ask(served, **headers)
    assert response.status_code == 403
    assert error_of(response)["code"] == "keys_needed"


def test_with_a_key_the_host_header_does_not_matter(serve):
    served = serve()
    key = served.key("p")
    assert ask(served, host="batch.example.org", **key).status_code == 200
