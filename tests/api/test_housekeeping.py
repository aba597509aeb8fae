"""Housekeeping deletes what has expired, in every project."""

import logging
from contextlib import closing

import pytest

from batchchat.api.server.housekeeping import Housekeeping
from batchchat.jobs.errors import StorageError
from batchchat.jobs.files.files import Files
from tests.support.wait import wait_until


@pytest.fixture
def now():
    return [1_000.0]


@pytest.fixture
def served(serve, now):
    return serve(clock=lambda: now[0], loopback_only=False)


@pytest.fixture
def housekeeping(served):
    with closing(Housekeeping(served.context)) as housekeeping:
        yield housekeeping


def upload(served, project, headers=None):
    """Upload a file that expires after an hour; return the key of its content."""
    response = served.client.post(
        "/v1/files",
        files={"file": ("a.jsonl", b"{}")},
        data={
            "purpose": "batch",
            "expires_after[anchor]": "created_at",
            "expires_after[seconds]": "3600",
        },
        headers=headers or served.key(project),
    )
    return served.context.ledger(project).keys.content(response.json()["id"])


def test_expired_files_of_all_projects_are_deleted(served, housekeeping, now):
    keys = [upload(served, project) for project in ("a", "b")]
    housekeeping.clean_up()
    assert set(keys) <= set(served.stored())
    now[0] += 3_601
    housekeeping.clean_up()
    assert not set(keys) & set(served.stored())


def test_old_idempotency_records_are_deleted(served, housekeeping, now):
    key = served.key("a")
    file_id = served.upload(headers=key)
    served.create(file_id, headers=key | {"idempotency-key": "k"})
    records = served.context.ledger("a").keys.idempotency_records()
    now[0] += 86_401
    for _ in range(16):  # each run covers a sixteenth of the records
        housekeeping.clean_up()
        now[0] += 600
    assert not [one for one in served.stored() if one.startswith(records)]


def test_a_failing_project_does_not_affect_the_others(
    served, housekeeping, now, monkeypatch, caplog
):
    failing, other = (upload(served, project) for project in ("a", "b"))
    now[0] += 3_601
    sweep = Files.sweep

    def sweep_unless_a(files):
        if files._ledger.project == "a":
            raise StorageError("unreachable")
        sweep(files)

    monkeypatch.setattr(Files, "sweep", sweep_unless_a)
    with caplog.at_level(logging.WARNING):
        housekeeping.clean_up()
    assert failing in served.stored()
    assert other not in served.stored()
    assert "cleanup of project a failed, will retry: unreachable" in caplog.text


def test_the_thread_cleans_up_despite_a_corrupt_outbox(served, housekeeping, now):
    key = upload(served, "a")
    served.storage.put("outbox/default/nonsense/x/y", b"")
    now[0] += 3_601
    housekeeping.start()
    wait_until(lambda: key not in served.stored())
