"""Batches as they are shown: what is cached, what is news, what pages hold."""

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


def test_a_batch_that_ended_is_read_once(serve, monkeypatch):
    served = serve()
    state = Hand(storage=served.storage).ended(DATA)
    place = f"/v1/batches/{state.batch.id}"
    first = served.client.get(place).json()
    monkeypatch.setattr(served.context.storage, "get", None)
    assert served.client.get(place).json() == first


@pytest.fixture
def ended_by_a_killed_one(hand):
    """A batch whose end is written down and whose files nobody has made visible."""
    state = hand.ended(DATA, output_format="both")
    for file_id in state.final.file_ids:
        hand.storage.delete(hand.ledger.keys.file(file_id))
    return state


@pytest.mark.parametrize("place", ["/{}", "", "/{}/results"])
def test_who_is_told_that_a_batch_has_ended_finds_its_files(
    served, ended_by_a_killed_one, place
):
    state = ended_by_a_killed_one
    url = f"/v1/batches{place}".format(state.batch.id)
    told = served.client.get(url, headers={"accept": "text/event-stream"}).text
    assert '"completed"' in told
    for file_id in state.final.file_ids:
        assert file_id in told
        answer = served.client.get(f"/v1/files/{file_id}/content")
        assert answer.status_code == 200
        assert len(answer.content) > 0


def test_a_file_that_was_deleted_does_not_come_back(served, hand):
    state = hand.ended(DATA)
    place = f"/v1/files/{state.final.output_file_id}"
    served.client.delete(place)
    told = served.client.get(f"/v1/batches/{state.batch.id}").json()
    assert told["output_file_id"] == state.final.output_file_id
    assert served.client.get(place).status_code == 404


def test_how_a_batch_ended_is_believed_after_a_while(serve):
    now = 1_010.0  # it ended at 1,000
    served = serve(clock=lambda: now)
    state = Hand(storage=served.storage).ended(DATA)
    served.client.get(f"/v1/batches/{state.batch.id}")
    assert served.app.state.batch_view.cached("default", state.batch.id) is None


def test_what_is_finished_but_not_committed_is_counted_once(hand):
    batch_id = hand.submit(DATA)
    hand.run(batch_id, shards=1)
    runner = RunnerProcess(as_json=False)
    running = ShardProgress(Counts(1, 0, 1), Usage(), 0.0)
    told = {f"{shard:05d}": msgspec.to_builtins(running) for shard in range(2)}
    runner.status = {"running": {batch_id: told}}
    shown = BatchView(runner.with_progress).render(hand.ledger, batch_id)
    assert b'"request_counts":{"total":4,"completed":2,"failed":1}' in shown


@pytest.mark.parametrize("news", [{}, {"running": {}}, {"running": {"another": {}}}])
def test_without_news_what_is_committed_counts(hand, news):
    batch_id = hand.submit(DATA)
    hand.run(batch_id, shards=1)
    runner = RunnerProcess(as_json=False)
    runner.status = news
    shown = BatchView(runner.with_progress).render(hand.ledger, batch_id)
    assert b'"request_counts":{"total":4,"completed":2,"failed":0}' in shown


def test_pages_of_batches_hold_each_once(served, hand):
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

    def noted(key):
        read.add(key.split("/")[3] if "/batches/" in key else "")
        return get(key)

    monkeypatch.setattr(served.storage, "get", noted)
    served.client.get("/v1/batches", params={"limit": 2})
    assert len(read - {""}) <= 16


def test_a_batch_without_a_record_is_not_listed(served, hand):
    batch_id = hand.submit(DATA)
    other = hand.submit(DATA, plan=False)
    served.storage.delete(hand.ledger.keys.of(other).batch)
    listed = served.client.get("/v1/batches").json()["data"]
    assert [one["id"] for one in listed] == [batch_id]


def inputs(served):
    return served.client.get("/v1/files", params={"purpose": "batch"}).json()["data"]


def test_a_retry_is_a_new_batch_of_what_never_ran(served, hand):
    batch_id = hand.submit(DATA)
    hand.run(batch_id, shards=1)
    hand.finalize(batch_id, "expired")
    answer = served.client.post(f"/v1/batches/{batch_id}/retry")
    assert answer.status_code == 200
    again = answer.json()
    assert again["retry_of"] == batch_id
    content = served.client.get(f"/v1/files/{again['input_file_id']}/content")
    assert len(content.text.splitlines()) == 2


def test_a_retry_that_is_sent_again_is_the_same(served, hand):
    batch_id = hand.submit(DATA)
    hand.finalize(batch_id, "expired")
    ids = {
        served.client.post(f"/v1/batches/{batch_id}/retry").json()["id"]
        for _ in range(2)
    }
    assert len(ids) == 1
    assert len(inputs(served)) == 2


def test_a_retry_that_was_killed_leaves_its_file_to_the_one_sent_again(
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
def test_there_is_not_always_something_to_retry(served, hand, ended):
    batch_id = hand.submit(DATA)
    if ended:
        hand.run(batch_id)
        hand.finalize(batch_id)
    answer = served.client.post(f"/v1/batches/{batch_id}/retry")
    assert answer.status_code == (400 if ended else 409)
