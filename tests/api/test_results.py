"""Reading results while a batch runs and afterwards."""

import json
from io import BytesIO

import pytest
from pyarrow import parquet

from tests.api.api_server import error_of
from tests.support.ended import Hand, whole

DATA = b"".join(whole(f"q-{n}", f"text {n}") + b"\n" for n in range(7))


@pytest.fixture
def hand(served):
    return Hand(storage=served.storage)


def lines(served, batch_id, **params):
    response = served.client.get(f"/v1/batches/{batch_id}/results", params=params)
    assert response.status_code == 200, response.text
    return response.text.splitlines(), response.headers["x-batchchat-complete"]


def test_results_are_append_only_and_grow_by_shard(served, hand):
    batch_id = hand.submit(DATA)
    seen: list[str] = []
    for shards in range(5):
        hand.run(batch_id, shards=shards)
        now, complete = lines(served, batch_id)
        assert now[: len(seen)] == seen
        assert (len(now), complete) == (min(2 * shards, 7), "false")
        seen = now
    hand.finalize(batch_id)
    assert lines(served, batch_id) == (seen, "true")


def test_results_are_in_input_order_whichever_shard_commits_first(served, hand):
    batch_id = hand.submit(DATA)
    for shard in reversed(hand.plan(batch_id).shards[1:]):
        hand.commit(batch_id, shard.index, hand.results(batch_id, shard))
    assert lines(served, batch_id)[0] == []
    hand.run(batch_id, shards=1)
    ids = [json.loads(line)["custom_id"] for line in lines(served, batch_id)[0]]
    assert ids == [f"q-{n}" for n in range(7)]


@pytest.mark.parametrize("after", range(9))
def test_after_skips_results(served, hand, after):
    batch_id = hand.submit(DATA)
    hand.run(batch_id)
    running, _ = lines(served, batch_id)
    assert lines(served, batch_id, after=after)[0] == running[after:]
    hand.finalize(batch_id)
    assert lines(served, batch_id, after=after)[0] == running[after:]


def test_results_include_failed_requests(served, hand):
    batch_id = hand.submit(b"no JSON\n" + DATA, on_invalid="skip")
    hand.run(batch_id)
    hand.finalize(batch_id)
    first, *rest = (json.loads(line) for line in lines(served, batch_id)[0])
    assert first["response"]["status_code"] == 400
    assert {one["response"]["status_code"] for one in rest} == {200}


def test_results_include_requests_that_never_ran_once_the_batch_has_ended(served, hand):
    batch_id = hand.submit(DATA)
    hand.run(batch_id, shards=2)
    before, _ = lines(served, batch_id)
    served.client.post(f"/v1/batches/{batch_id}/cancel")
    hand.finalize(batch_id, "cancelled")
    after, _ = lines(served, batch_id)
    assert after[:4] == before
    assert {json.loads(one)["error"]["code"] for one in after[4:]} == {
        "batch_cancelled"
    }


def test_results_survive_the_deletion_of_the_input(served, hand):
    state = hand.ended(DATA)
    before = lines(served, state.batch.id)
    served.client.delete(f"/v1/files/{state.batch.input_file_id}")
    assert lines(served, state.batch.id) == before
    for method, place in (("get", "results?format=parquet"), ("post", "retry")):
        response = served.client.request(
            method, f"/v1/batches/{state.batch.id}/{place}"
        )
        assert response.status_code == 404
        assert error_of(response)["code"] == "file_deleted"


@pytest.mark.parametrize("kind", ["output", "error"])
def test_results_are_not_found_once_their_file_is_deleted(served, hand, kind):
    state = hand.ended(b"no JSON\n" + DATA, on_invalid="skip")
    served.client.delete(f"/v1/files/{getattr(state.final, f'{kind}_file_id')}")
    for method, place in (("get", "results"), ("post", "retry")):
        response = served.client.request(
            method, f"/v1/batches/{state.batch.id}/{place}"
        )
        assert response.status_code == 404
        assert error_of(response)["code"] == "file_deleted"


def test_blank_lines_have_no_results(served, hand):
    blank = DATA.replace(b"\n", b"\n\n \r\n")
    batch_id = hand.submit(blank)
    hand.run(batch_id)
    running = lines(served, batch_id)[0]
    hand.finalize(batch_id)
    assert lines(served, batch_id)[0] == running
    assert len(running) == 7


def test_every_stream_has_one_record_per_unicode_line(served, hand):
    breaks = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"
    batch_id = hand.submit(whole(f"q{breaks}", f"text{breaks}"), metadata={"a": breaks})
    hand.run(batch_id)
    [line] = lines(served, batch_id)[0]
    assert json.loads(line)["custom_id"] == f"q{breaks}"
    final = hand.finalize(batch_id).final
    place = f"/v1/files/{final.output_file_id}/content"
    assert served.client.get(place).text.splitlines() == [line]
    place = f"/v1/batches/{batch_id}"
    [shown] = served.client.get(place).text.splitlines()
    headers = {"accept": "text/event-stream"}
    stream = served.client.get(f"{place}/results", headers=headers).text
    data = [one[6:] for one in stream.splitlines() if one.startswith("data: ")]
    assert data[:2] == [line, shown]
    assert len(stream.splitlines()) == 4 * len(data)


def test_a_failed_batch_has_no_results(served, hand):
    batch_id = hand.submit(b"no JSON\n")
    assert lines(served, batch_id) == ([], "true")


def test_results_are_available_as_parquet(served, hand):
    state = hand.ended(DATA)
    place = f"/v1/batches/{state.batch.id}/results"
    response = served.client.get(place, params={"format": "parquet"})
    table = parquet.read_table(BytesIO(response.content))
    assert table["custom_id"].to_pylist() == [f"q-{n}" for n in range(7)]


def test_parquet_requires_that_the_batch_has_ended(served, hand):
    batch_id = hand.submit(DATA)
    place = f"/v1/batches/{batch_id}/results"
    response = served.client.get(place, params={"format": "parquet"})
    assert response.status_code == 409
    error_of(response)


@pytest.mark.parametrize("params", [{"after": -1}, {"after": "x"}, {"format": "csv"}])
def test_invalid_parameters_are_rejected(served, hand, params):
    place = f"/v1/batches/{hand.submit(DATA)}/results"
    response = served.client.get(place, params=params)
    assert response.status_code == 400
    assert error_of(response)["param"] in params


def events(served, batch_id, **headers):
    """Yield id, name and data of the events, until the stream ends."""
    place = f"/v1/batches/{batch_id}/results"
    headers = {"accept": "text/event-stream", **headers}
    with served.client.stream("GET", place, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        event = {}
        for line in response.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif event:
                number = event["id"] if event["id"] == "done" else int(event["id"])
                yield number, event["event"], json.loads(event["data"])
                event = {}


def test_an_event_stream_follows_a_batch_to_its_end(served, hand):
    batch_id = hand.submit(DATA)
    followed = events(served, batch_id)
    number, name, shown = next(followed)
    assert (number, name, shown["status"]) == (0, "batch", "in_progress")
    hand.run(batch_id, shards=2)
    some = [next(followed) for _ in range(4)]
    assert [number for number, _, _ in some] == [1, 2, 3, 4]
    assert [one["custom_id"] for _, _, one in some] == ["q-0", "q-1", "q-2", "q-3"]
    hand.run(batch_id)
    hand.finalize(batch_id)
    rest = list(followed)
    assert [one["custom_id"] for _, name, one in rest if name == "result"] == [
        "q-4",
        "q-5",
        "q-6",
    ]
    assert rest[-1] == ("done", "done", {"status": "completed"})
    assert rest[-2][2]["request_counts"]["completed"] == 7


def test_a_reconnected_event_stream_continues_after_the_last_event(served, hand):
    state = hand.ended(DATA)
    header = {"last-event-id": "5"}
    names = [
        (number, name) for number, name, _ in events(served, state.batch.id, **header)
    ]
    assert names == [(6, "result"), (7, "result"), (7, "batch"), ("done", "done")]


def test_an_event_stream_is_not_sent_again_after_its_end(served, hand):
    state = hand.ended(DATA)
    *_, (last, name, _) = events(served, state.batch.id)
    assert name == "done"
    place = f"/v1/batches/{state.batch.id}/results"
    headers = {"accept": "text/event-stream", "last-event-id": last}
    response = served.client.get(place, headers=headers)
    assert (response.status_code, response.content) == (204, b"")


def test_an_event_stream_that_broke_before_its_end_is_continued(served, hand):
    state = hand.ended(DATA)
    names = [
        name for _, name, _ in events(served, state.batch.id, **{"last-event-id": "7"})
    ]
    assert names == ["batch", "done"]


@pytest.mark.parametrize("last", ["x", "-1", "9" * 40])
def test_an_invalid_last_event_id_is_rejected(served, hand, last):
    place = f"/v1/batches/{hand.submit(DATA)}/results"
    headers = {"accept": "text/event-stream", "last-event-id": last}
    response = served.client.get(place, headers=headers)
    assert response.status_code == 400


def test_an_event_stream_ends_when_its_key_is_revoked(serve, monkeypatch):
    monkeypatch.setattr("batchchat.api.http.auth._KEY_CACHE_SECONDS", 0.0)
    served = serve(loopback_only=False)
    key, text = served.context.keys.create("default")
    batch_id = Hand(storage=served.storage).submit(DATA)
    followed = events(served, batch_id, authorization=f"Bearer {text}")
    next(followed)
    served.context.keys.revoke(key.id)
    assert list(followed) == []


def test_an_event_stream_does_not_delay_the_shutdown(serve):
    served = serve()
    followed = events(served, Hand(storage=served.storage).submit(DATA))
    next(followed)
    served._server.should_exit = True
    assert list(followed) == []


def test_checkpointed_results_are_readable_before_their_shard_is_committed(
    served, hand
):
    batch_id = hand.submit(DATA)
    hand.run(batch_id, shards=1)
    second = hand.results(batch_id, hand.plan(batch_id).shards[1])
    third = hand.results(batch_id, hand.plan(batch_id).shards[2])
    hand.checkpoint(batch_id, 1, second[:1])
    hand.checkpoint(batch_id, 2, third)

    def ids(**params):
        found = lines(served, batch_id, **params)[0]
        return [json.loads(line)["custom_id"] for line in found]

    assert ids() == ["q-0", "q-1", "q-2"]
    assert ids(after=2) == ["q-2"]
    assert ids(partial=True) == ["q-0", "q-1", "q-2", "q-4", "q-5"]


def test_partial_results_are_not_combined_with_after(served, hand):
    batch_id = hand.submit(DATA)
    response = served.client.get(
        f"/v1/batches/{batch_id}/results", params={"partial": True, "after": 1}
    )
    assert response.status_code == 400
    assert error_of(response)["param"] == "after"
