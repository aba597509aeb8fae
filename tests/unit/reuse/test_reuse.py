"""Requests that an ended batch has answered are not run again."""

import pytest

from batchchat.workers.engine.echo_core import start_echo
from tests.support.reusing import count_computed, run, submit
from tests.support.running import Bench, lines, renderer, text

DATA = lines(20, temperature=0.7)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def computed(bench, monkeypatch):
    return count_computed(bench, monkeypatch)


def test_only_new_and_changed_requests_run(bench, computed):
    first = run(bench, DATA)
    computed.clear()
    changed = lines(30, temperature=0.7).replace(b"question 4", b"another 4")
    second = run(bench, changed, first.batch.id)
    assert sorted(computed) == sorted(
        ["another 4", *(f"question {n}" for n in range(20, 30))]
    )
    assert second.reused() == 19
    assert second.counts().done() == (30, 0)


def test_a_reused_answer_says_where_it_is_from_and_costs_nothing(bench):
    first = run(bench, DATA)
    second = run(bench, DATA, first.batch.id)
    (before, _), (after, _) = bench.results(first), bench.results(second)
    for old, new in zip(before, after, strict=True):
        old_body, body = old["response"]["body"], new["response"]["body"]
        assert text(new) == text(old)
        assert new["id"] != old["id"]
        assert body["id"] == f"chatcmpl-{new['id'].removeprefix('batch_req_')}"
        assert body["reused_from"] == {
            "batch_id": first.batch.id,
            "custom_id": old["custom_id"],
        }
        same = ("choices", "created", "seed", "system_fingerprint", "model")
        assert [body[name] for name in same] == [old_body[name] for name in same]
        assert body["usage"]["completion_tokens"]
    assert second.usage().output_tokens == 0
    assert second.engine_seconds() == 0


def test_a_reused_answer_has_the_metadata_of_its_own_request(bench):
    first = run(bench, lines(3, metadata={"version": "1"}))
    second = run(bench, lines(3, metadata={"version": "2"}), first.batch.id)
    third = run(bench, lines(3), second.batch.id)
    assert (second.reused(), third.reused()) == (3, 3)
    found = [bench.results(state)[0][0] for state in (first, second, third)]
    metadata = [one["response"]["body"].get("metadata") for one in found]
    assert metadata == [{"version": "1"}, {"version": "2"}, None]


def test_an_answer_that_is_reused_twice_names_the_batch_that_computed_it(bench):
    first = run(bench, DATA)
    second = run(bench, DATA, first.batch.id)
    third = run(bench, DATA, second.batch.id)
    output, _ = bench.results(third)
    assert third.reused() == 20
    origins = {one["response"]["body"]["reused_from"]["batch_id"] for one in output}
    assert origins == {first.batch.id}


def test_several_batches_are_reused_together(bench, computed):
    first, second = (
        run(bench, data, seed=1) for data in (lines(5), lines(9)[len(lines(5)) :])
    )
    computed.clear()
    third = run(bench, lines(10), first.batch.id, second.batch.id)
    assert computed == ["question 9"]
    assert third.reused() == 9


@pytest.mark.parametrize(
    "body",
    [
        {"n": 3},
        {"logprobs": True, "top_logprobs": 2},
        {
            "messages": [
                {"role": "user", "content": "one"},
                {"role": "assistant", "generate": True},
                {"role": "user", "content": "two"},
            ]
        },
    ],
    ids=["n", "logprobs", "turns"],
)
def test_every_kind_of_answer_is_reused_whole(bench, computed, body):
    first = run(bench, lines(4, **body))
    computed.clear()
    second = run(bench, lines(4, **body), first.batch.id)
    assert computed == []
    for old, new in zip(bench.results(first)[0], bench.results(second)[0], strict=True):
        old_body, body = old["response"]["body"], new["response"]["body"]
        assert body["choices"] == old_body["choices"]
        assert body.get("turns") == old_body.get("turns")


def test_a_batch_without_reuse_runs_everything(bench, computed):
    first = run(bench, DATA)
    computed.clear()
    second = run(bench, DATA, seed=first.batch.seed)
    assert len(computed) == 20
    assert second.reused() == 0
    assert not bench.ledger.plan(second.batch.id).reuse


def test_sampled_requests_of_a_batch_with_another_seed_run(bench, computed):
    first = run(bench, DATA + lines(3, temperature=0).replace(b"q-", b"g-"))
    computed.clear()
    data = DATA + lines(3, temperature=0).replace(b"q-", b"h-")
    second = run(bench, data, first.batch.id, seed=first.batch.seed + 1)
    assert len(computed) == 20
    assert second.reused() == 3


def test_another_engine_reuses_nothing(bench, computed):
    first = run(bench, DATA)
    bench.start_engine = lambda _: start_echo(
        renderer(), arguments={"dtype": "float16"}
    )
    computed.clear()
    second = run(bench, DATA, first.batch.id)
    assert len(computed) == 20
    assert second.reused() == 0
    assert second.counts().completed == 20


def test_another_engine_reuses_answers_if_that_is_asked_for(bench, computed):
    first = run(bench, DATA)
    bench.start_engine = lambda _: start_echo(
        renderer(), arguments={"dtype": "float16"}
    )
    computed.clear()
    second = run(
        bench, lines(21, temperature=0.7), first.batch.id, reuse_across_engines=True
    )
    assert computed == ["question 20"]
    fingerprints = {
        one["response"]["body"]["system_fingerprint"]
        for one in bench.results(second)[0]
    }
    assert second.final
    assert fingerprints == second.final.engines.keys()
    assert len(fingerprints) == 2


def test_failed_requests_run_again(bench, computed):
    too_long = lines(3).replace(b"question 1", b"x" * 600)
    first = run(bench, too_long)
    assert first.counts().failed == 1
    computed.clear()
    second = run(bench, too_long, first.batch.id)
    assert second.counts().done() == (2, 1)
    assert second.reused() == 2


def test_completed_requests_of_a_cancelled_batch_are_reused(bench, computed):
    batch_id = submit(bench, DATA)
    bench.run(batch_id)
    cancelled = bench.ledger.keys.batch(batch_id).final
    bench.storage.put(
        cancelled,
        bench.storage.get(cancelled).replace(b'"completed",', b'"cancelled",', 1),
    )
    computed.clear()
    second = run(bench, DATA, batch_id)
    assert computed == []
    assert second.reused() == 20


def test_a_line_that_repeats_a_custom_id_gets_no_answer(bench):
    first = run(bench, DATA)
    twice = DATA + DATA.splitlines(keepends=True)[0]
    second = run(bench, twice, first.batch.id, on_invalid="skip")
    assert second.counts().done() == (20, 1)
    assert second.reused() == 20
