"""Keys end when their owner wants it, and wrong ones cannot be tried without limit."""

import json

import pytest

from batchchat.api.http import auth
from batchchat.api.http.errors import ApiError
from batchchat.api.http.failed_keys import PER_MINUTE, FailedKeys
from batchchat.api.routes import webhook_endpoints
from batchchat.api.webhooks.safe_post import WebhookError
from batchchat.cli.main import app
from batchchat.jobs.access.api_keys import LAST_USE_SECONDS, ApiKeys
from batchchat.jobs.errors import UsageError
from batchchat.jobs.storage import MemoryStorage
from tests.api.api_server import ApiServer, error_of
from tests.support.clock import Clock


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(auth, "_KEY_CACHE_SECONDS", 0.0)
    server = ApiServer(loopback_only=False)
    yield server
    server.close()


@pytest.fixture
def clock():
    return Clock(1_000_000.0)


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def keys(storage, clock):
    return ApiKeys(storage, clock)


def count_calls(storage, name, monkeypatch):
    """Return a list that gets the arguments of each call."""
    calls = []
    method = getattr(storage, name)

    def counted(*arguments):
        calls.append(arguments)
        return method(*arguments)

    monkeypatch.setattr(storage, name, counted)
    return calls


def status(server, headers):
    return server.client.get("/v1/models", headers=headers).status_code


def bearer(text):
    return {"authorization": f"Bearer {text}"}


@pytest.mark.parametrize("end", ["revoke", "delete"])
def test_a_revoked_or_deleted_key_stops_working(server, end):
    key, text = server.context.keys.create("p")
    assert status(server, bearer(text)) == 200
    if end == "revoke":
        ApiKeys(server.storage).revoke(key.id)
    else:
        server.storage.delete(f"keys/{key.id}/key.json")
    assert status(server, bearer(text)) == 401


def test_a_key_expires(keys, clock):
    _, text = keys.create("p", expires="30d")
    clock.now += 30 * 86_400 - 1
    assert keys.find(text)
    clock.now += 1
    assert keys.find(text) is None


def test_a_key_without_an_end_is_readable_for_older_versions(keys):
    assert keys.create("p")[0].format == 1
    assert keys.create("p", expires="1h")[0].format == 2


@pytest.mark.parametrize("expires", ["", "0d", "soon", "30", "-1d", "1y", "none"])
def test_an_invalid_duration_creates_no_key(keys, storage, expires):
    with pytest.raises(UsageError, match="not a duration"):
        keys.create("p", expires=expires)
    assert [*storage.list("keys/")] == []


def test_the_last_use_is_shown_without_a_write_for_each_request(
    keys, storage, clock, monkeypatch
):
    _, text = keys.create("p")
    assert [key.last_used_at for key in keys] == [None]
    writes = count_calls(storage, "put", monkeypatch)
    for _ in range(1_000):
        keys.find(text)
    assert len(writes) == 1
    clock.now += LAST_USE_SECONDS
    keys.find(text)
    assert [key.last_used_at for key in keys] == [int(clock.now)]
    assert len(writes) == 2


def test_a_wrong_secret_is_no_use_of_a_key(keys):
    _, text = keys.create("p")
    assert keys.find(text[:-1]) is None
    assert [key.last_used_at for key in keys] == [None]


def run(*arguments):
    assert not app([*arguments], standalone_mode=False)


def test_the_command_creates_a_key_that_expires_and_lists_it(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("BATCHCHAT_STORAGE", str(tmp_path))
    run("keys", "create", "--project", "p", "--expires", "30d", "--json")
    created = json.loads(capsys.readouterr().out)
    run("keys", "list", "--json")
    listed = json.loads(capsys.readouterr().out)
    assert listed["expires_at"] == created["expires_at"]
    assert listed["expires_at"] - listed["created_at"] == 30 * 86_400
    assert listed["last_used_at"] is None
    run("keys", "list")
    assert "never used" in capsys.readouterr().out


def wrong(number):
    return bearer(f"bc_{number:016x}_{'x' * 43}")


def test_wrong_keys_are_limited_and_soon_cost_no_request_to_the_storage(
    server, monkeypatch
):
    found = [status(server, wrong(number)) for number in range(PER_MINUTE + 20)]
    assert found[:PER_MINUTE] == [401] * PER_MINUTE
    assert found[-10:] == [429] * 10
    read = count_calls(server.storage, "get", monkeypatch)
    response = server.client.get("/v1/models", headers=wrong(10_000))
    assert response.status_code == 429
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert error_of(response)["code"] == "rate_limit_exceeded"
    assert read == []


def test_a_key_that_was_valid_works_beside_wrong_ones_from_the_same_address(server):
    key = server.key("p")
    assert status(server, key) == 200
    for number in range(PER_MINUTE + 20):
        status(server, wrong(number))
    assert status(server, key) == 200


def test_an_address_may_try_again_later():
    now = 0.0
    failed = FailedKeys(lambda: now)
    for _ in range(PER_MINUTE):
        failed.count("2001:db8::1")
    with pytest.raises(ApiError):
        failed.check("2001:db8::2")
    failed.check("2001:db8:1::1")
    now += 60 / PER_MINUTE
    failed.check("2001:db8::1")


@pytest.mark.parametrize(
    "reason",
    [
        "cannot resolve `internal`",
        "`db` resolves to a private address",
        "cannot reach db: connection refused",
        "db did not respond within 10 s",
    ],
)
def test_the_webhook_test_does_not_say_why_a_host_is_unreachable(
    server, monkeypatch, reason
):
    def fail(*_, **__):
        raise WebhookError(reason)

    monkeypatch.setattr(webhook_endpoints, "safe_post", fail)
    key = server.key("p")
    hook = {"name": "n", "url": "https://db:5432", "event_types": ["batch.failed"]}
    made = server.client.post("/v1/webhook_endpoints", json=hook, headers=key).json()
    response = server.client.post(
        f"/v1/webhook_endpoints/{made['id']}/test",
        json={"event_type": "batch.failed"},
        headers=key,
    )
    assert response.status_code == 400
    error = error_of(response)
    assert error["code"] == "webhook_failed"
    assert error["message"] == webhook_endpoints._UNREACHABLE
