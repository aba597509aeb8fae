"""Batch objects: caching, progress of running shards, pages and retries."""

import msgspec
import pytest

from batchchat.api.batch_view import BatchView
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import StorageError
from batchchat.jobs.ledger.records import Counts
from batchchat.workers.broker.status_board import ShardProgress
from batchchat.workers.local.runner_process import RunnerProcess
from tests.support.ended import Hand, whole

DATA = b"".join(whole(f"q-{n}", "text") + b"\n" for n in range(4))


@pytest.fixture
def hand(served):
    return Hand(storage=served.storage)


def test_an_ended_batch_is_rendered_from_the_cache(serve, monkeypatch):
    served = serve()
    state = Hand(storage=served.storage).ended(DATA)
    place = f"/v1/batches/{state.batch.id}"
    first = served.client.get(place).json()
    monkeypatch.setattr(served.context.storage, "get", None)
    assert served.client.get(place).json() == first


@pytest.fixture
def unpublished(hand):
    """An ended batch whose files were not published before the process was killed."""
    state = hand.ended(DATA, output_format="both")
    for file_id in state.final.file_ids:
        hand.storage.delete(hand.ledger.keys.file(file_id))
    return state


@pytest.mark.parametrize("place", ["/{}", "", "/{}/results"])
def test_an_ended_batch_has_its_files_even_if_finalizing_was_killed(
    served, unpublished, place
):
    state = unpublished
    url = f"/v1/batches{place}".format(state.batch.id)
    text = served.client.get(url, headers={"accept": "text/event-stream"}).text
    assert '"completed"' in text
    for file_id in state.final.file_ids:
        assert file_id in text
        response = served.client.get(f"/v1/files/{file_id}/content")
        assert response.status_code == 200
        assert len(response.content) > 0


def test_a_deleted_result_file_is_not_published_again(served, hand):
    state = hand.ended(DATA)
    place = f"/v1/files/{state.final.output_file_id}"
    served.client.delete(place)
    batch = served.client.get(f"/v1/batches/{state.batch.id}").json()
    assert batch["output_file_id"] == state.final.output_file_id
    assert served.client.get(place).status_code == 404


def test_a_recently_ended_batch_is_not_cached(serve):
    now = 1_010.0  # it ended at 1,000
    served = serve(clock=lambda: now)
    state = Hand(storage=served.storage).ended(DATA)
    served.client.get(f"/v1/batches/{state.batch.id}")
    assert served.app.state.batch_view.cached("default", state.batch.id) is None


def test_uncommitted_results_are_counted_once(hand):
    batch_id = hand.submit(DATA)
    hand.run(batch_id, shards=1)
    runner = RunnerProcess(as_json=False)
    running = ShardProgress(Counts(1, 0, 1), Usage(), 0.0)
    reported = {f"{shard:05d}": msgspec.to_builtins(running) for shard in range(2)}
    runner.status = {"running": {batch_id: reported}}
    rendered = BatchView(runner.with_progress).render(hand.ledger, batch_id)
    assert b'"request_counts":{"total":4,"completed":2,"failed":1}' in rendered


@pytest.mark.parametrize("status", [{}, {"running": {}}, {"running": {"another": {}}}])
def test_without_progress_reports_only_committed_results_count(hand, status):
    batch_id = hand.submit(DATA)
    hand.run(batch_id, shards=1)
    runner = RunnerProcess(as_json=False)
    runner.status = status
    rendered = BatchView(runner.with_progress).render(hand.ledger, batch_id)
    assert b'"request_counts":{"total":4,"completed":2,"failed":0}' in rendered


def test_pages_list_each_batch_once(served, hand):
    made = [hand.submit(DATA) for _ in range(11)]
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = served.client.get("/v1/batches", params={"limit": 4, **after}).json()
        seen += [one["id"] for one in page["data"]]
        assert (page["first_id"], page["last_id"]) == (
            page["data"][0]["id"],
            page["data"][-1]["id"],
        )
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert seen == sorted(made, reverse=True)


def test_a_page_reads_only_its_own_batches(served, hand, monkeypatch):
    for _ in range(40):
        hand.submit(DATA)
    read = set()
    get = served.storage.get

    def recorded(key):
        read.add(key.split("/")[3] if "/batches/" in key else "")
        return get(key)

    monkeypatch.setattr(served.storage, "get", recorded)
    served.client.get("/v1/batches", params={"limit": 2})
    assert len(read - {""}) <= 16


def test_a_batch_without_a_record_is_not_listed(served, hand):
    batch_id = hand.submit(DATA)
    other = hand.submit(DATA, plan=False)
    served.storage.delete(hand.ledger.keys.batch(other).batch)
    listed = served.client.get("/v1/batches").json()["data"]
    assert [one["id"] for one in listed] == [batch_id]


def inputs(served):
    return served.client.get("/v1/files", params={"purpose": "batch"}).json()["data"]


def test_a_retry_is_a_new_batch_of_the_requests_that_never_ran(served, hand):
    batch_id = hand.submit(DATA)
    hand.run(batch_id, shards=1)
    hand.finalize(batch_id, "expired")
    response = served.client.post(f"/v1/batches/{batch_id}/retry")
    assert response.status_code == 200
    again = response.json()
    assert again["retry_of"] == batch_id
    content = served.client.get(f"/v1/files/{again['input_file_id']}/content")
    assert len(content.text.splitlines()) == 2


def test_a_repeated_retry_request_returns_the_same_batch(served, hand):
    batch_id = hand.submit(DATA)
    hand.finalize(batch_id, "expired")
    ids = {
        served.client.post(f"/v1/batches/{batch_id}/retry").json()["id"]
        for _ in range(2)
    }
    assert len(ids) == 1
    assert len(inputs(served)) == 2


def test_a_repeated_retry_request_reuses_the_file_of_a_killed_one(
    served, hand, monkeypatch
):
    batch_id = hand.submit(DATA)
    hand.finalize(batch_id, "expired")

    def killed(*_, **__):
        raise StorageError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("batchchat.api.routes.create_batch.create_batch", killed)
        served.client.post(f"/v1/batches/{batch_id}/retry")
    again = served.client.post(f"/v1/batches/{batch_id}/retry").json()
    files = {one["id"] for one in inputs(served)}
    assert files == {hand.ledger.batch(batch_id).input_file_id, again["input_file_id"]}


@pytest.mark.parametrize("ended", [False, True])
def test_a_batch_without_retryable_requests_cannot_be_retried(served, hand, ended):
    batch_id = hand.submit(DATA)
    if ended:
        hand.run(batch_id)
        hand.finalize(batch_id)
    response = served.client.post(f"/v1/batches/{batch_id}/retry")
    assert response.status_code == (400 if ended else 409)
