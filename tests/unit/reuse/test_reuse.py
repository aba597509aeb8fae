"""Requests that an ended batch has answered are not run again."""

import pytest

from tests.support.reusing import count_computed, run
from tests.support.running import Bench, lines, text

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
