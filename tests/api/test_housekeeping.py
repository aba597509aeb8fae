"""Housekeeping deletes what has expired, in every project."""

import logging
from contextlib import closing

import pytest

from batchchat.api.server.main import _housekeeping
from batchchat.jobs.deletion.deletion import Deleter
from batchchat.jobs.errors import StorageError
from batchchat.jobs.files.files import Files
from batchchat.jobs.ids import id_created_at
from tests.api.api_server import LINE
from tests.support.ended import Hand
from tests.support.wait import wait_until


@pytest.fixture
def now():
    return [1_000.0]


@pytest.fixture
def served(serve, now):
    return serve(clock=lambda: now[0], loopback_only=False)


@pytest.fixture
def housekeeping(served):
    with closing(_housekeeping(served.context)) as housekeeping:
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


def ended(served, project):
    """Return the id of a batch of a project that ended at 1,000 seconds."""
    hand = Hand(served.storage, project=project)
    return hand.ended(LINE).batch.id


@pytest.mark.parametrize("own", [None, "none", "1d"])
def test_batches_are_deleted_when_the_retention_of_their_project_ends(serve, now, own):
    rules = {"a": {"retention": own}} if own else {}
    served = serve(clock=lambda: now[0], retention="30d", projects=rules)
    ids = {project: ended(served, project) for project in ("a", "b")}
    running = Hand(served.storage, project="b").submit(LINE)
    created = id_created_at(max(ids.values()))
    days = {None: 30, "none": 4_000, "1d": 1}[own]
    with closing(_housekeeping(served.context)) as housekeeping:
        for day in (1, 30):
            for seconds, is_over in ((-5, False), (5, True)):
                now[0] = created + 86_400 * day + seconds
                housekeeping.clean_up()
                left = [*served.context.ledger("a").batch_ids()]
                assert bool(left) == (day < days or (day == days and not is_over))
                left = [*served.context.ledger("b").batch_ids()]
                assert left == [running, ids["b"]][: 1 if day == 30 and is_over else 2]


def test_without_a_retention_batches_are_kept(served, housekeeping, now):
    batch_id = ended(served, "a")
    now[0] += 10_000 * 86_400
    housekeeping.clean_up()
    assert [*served.context.ledger("a").batch_ids()] == [batch_id]


def test_an_interrupted_deletion_is_continued(served, housekeeping):
    batch_id = ended(served, "a")
    ledger = served.context.ledger("a")
    Deleter(ledger)._begin(batch_id, keep_input=False)
    housekeeping.clean_up()
    assert [key for key in served.stored() if batch_id in key] == [
        ledger.keys.deletion(batch_id)
    ]
