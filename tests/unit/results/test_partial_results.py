"""The finished results of a running batch, read from commits and checkpoints."""

import json

import pytest

from batchchat.jobs.ledger.checkpoint_reader import CheckpointReader
from batchchat.jobs.results.partial_results import PartialResults
from batchchat.jobs.results.result_stream import finished_results
from tests.support.ended import Hand, completion, whole

DATA = b"".join(whole(f"q-{n}", f"text {n}") + b"\n" for n in range(6))


@pytest.fixture
def hand():
    return Hand(shard_requests=3)


def ids(lines):
    return [json.loads(line)["custom_id"] for line in lines]


def checkpointed(hand, batch_id, shard, *indexes, answer=None):
    """Write a checkpoint with some of the results of a shard."""
    plan = hand.plan(batch_id).shards[shard]
    results = hand.results(batch_id, plan, *([answer] if answer else []))
    hand.checkpoint(batch_id, shard, [results[index] for index in indexes])


def test_checkpointed_results_count_as_finished(hand):
    batch_id = hand.submit(DATA)
    checkpointed(hand, batch_id, 1, 0, 2)
    reader = CheckpointReader(hand.ledger)
    state = reader.add_checkpoints(hand.ledger.state(batch_id))
    assert (state.counts().total, state.counts().completed) == (6, 2)
    assert state.usage().output_tokens == 10
    hand.run(batch_id)
    state = reader.add_checkpoints(hand.ledger.state(batch_id))
    assert state.counts().completed == 6


def test_a_result_in_two_checkpoints_counts_once_and_the_earlier_one_is_read(
    hand, monkeypatch
):
    attempts = iter(["0" * 32, "1" * 32])  # ids of one millisecond are in random order
    monkeypatch.setattr("tests.support.ended.new_attempt_id", lambda: next(attempts))
    batch_id = hand.submit(DATA)
    checkpointed(hand, batch_id, 0, 0)
    checkpointed(hand, batch_id, 0, 0, 1, answer=lambda _: completion("later"))
    state = hand.ledger.state(batch_id)
    counted = CheckpointReader(hand.ledger).add_checkpoints(state).counts()
    assert counted.completed == 2
    first, second = PartialResults(hand.ledger).new(state)
    assert b"re: text 0" in first.text
    assert b"later" in second.text


def test_partial_results_are_yielded_once_and_end_as_the_output_file(hand):
    batch_id = hand.submit(DATA)
    results = PartialResults(hand.ledger)

    def new():
        return ids(result.text for result in results.new(hand.ledger.state(batch_id)))

    assert new() == []
    checkpointed(hand, batch_id, 1, 2)
    assert new() == ["q-5"]
    checkpointed(hand, batch_id, 0, 0, 1)
    checkpointed(hand, batch_id, 1, 0)
    assert new() == ["q-0", "q-1", "q-3"]
    hand.run(batch_id)
    hand.finalize(batch_id)
    assert new() == ["q-2", "q-4"]
    assert new() == []


def test_ordered_results_end_before_the_first_request_without_one(hand):
    batch_id = hand.submit(DATA)
    checkpointed(hand, batch_id, 0, 0, 2)
    checkpointed(hand, batch_id, 1, 0)
    state = hand.ledger.state(batch_id)
    seen = list(finished_results(hand.ledger, state, 0))
    assert ids(seen) == ["q-0"]
    checkpointed(hand, batch_id, 0, 1)
    state = hand.ledger.state(batch_id)
    assert ids(finished_results(hand.ledger, state, 1)) == ["q-1", "q-2"]
    hand.run(batch_id)
    state = hand.ledger.state(batch_id)
    assert next(finished_results(hand.ledger, state, 0)) == seen[0]
    assert ids(finished_results(hand.ledger, state, 2)) == ["q-2", "q-3", "q-4", "q-5"]


def test_blank_lines_hide_where_a_shard_has_gaps(hand):
    batch_id = hand.submit(DATA.replace(b"\n", b"\n\n"))
    checkpointed(hand, batch_id, 0, 0)
    state = hand.ledger.state(batch_id)
    assert list(finished_results(hand.ledger, state, 0)) == []
    assert len(list(PartialResults(hand.ledger).new(state))) == 1
