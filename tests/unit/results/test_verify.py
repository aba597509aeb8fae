"""A sample of requests is rerun with its seeds, and the answers are compared."""

import json

import pytest

from batchchat.jobs.errors import UsageError
from batchchat.jobs.results.verify import compare, rerun_lines, sample
from tests.support.running import Bench, lines
from tests.unit.engine.test_conversation import two_turns


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def verified(bench, data, most=5, change=lambda line: line):
    """Run `data`, then a sample of it with each line changed; return the verdict."""
    state = bench.run(bench.submit(data))
    rows = sample(bench.ledger, state, most)
    repeated = b"".join(change(line) for line in rerun_lines(bench.ledger, state, rows))
    return compare(rows, bench.ledger, bench.run(bench.submit(repeated, seed=999)))


def test_the_same_engine_gives_the_same_answers(bench):
    verdict = verified(bench, lines(30))
    assert (verdict.sampled, verdict.identical, verdict.identical_share) == (5, 5, 1)
    assert verdict.then == verdict.now
    assert sum(verdict.now.values()) == 5


def test_turns_within_a_conversation_are_compared_too(bench):
    assert verified(bench, two_turns(4)).identical == 4


def test_bare_bodies_keep_their_custom_ids(bench):
    body = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 5}
    data = b"\n".join(json.dumps(body).encode() for _ in range(8))
    assert verified(bench, data, most=3).identical == 3


def test_different_answers_are_listed(bench):
    def change(line):
        one = json.loads(line)
        if one["custom_id"] == "q-3":
            one["body"]["seed"] += 1
        return json.dumps(one).encode() + b"\n"

    verdict = verified(bench, lines(4, max_tokens=40), most=9, change=change)
    assert (verdict.sampled, verdict.identical) == (4, 3)
    assert verdict.different == ["q-3"]


def test_an_answer_that_became_an_error_is_different(bench):
    def change(line):
        one = json.loads(line)
        one["body"]["messages"][0]["content"] = "long " * 200
        return json.dumps(one).encode() + b"\n"

    state = bench.run(bench.submit(lines(2)))
    rows = sample(bench.ledger, state, 1)
    repeated = b"".join(map(change, rerun_lines(bench.ledger, state, rows)))
    rest = lines(5).splitlines(keepends=True)[-1]
    now = bench.run(bench.submit(repeated + rest, on_invalid="skip"))
    verdict = compare(rows, bench.ledger, now)
    assert verdict.identical == 0
    assert verdict.now == {"none": 1}


def test_a_sample_is_the_same_each_time_and_in_order(bench):
    state = bench.run(bench.submit(lines(40)))
    first = [row.line.number for row in sample(bench.ledger, state, 10)]
    assert first == [row.line.number for row in sample(bench.ledger, state, 10)]
    assert first == sorted({*first})
    assert len(first) == 10
    assert first != list(range(1, 11))


def test_a_batch_without_answers_cannot_be_verified(bench):
    state = bench.run(bench.submit(b"", on_invalid="skip"))
    with pytest.raises(UsageError):
        sample(bench.ledger, state, 1)
