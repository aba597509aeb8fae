"""A batch ends once, with results in input order, even if processes die."""

import pytest

from batchchat.jobs.errors import NotFoundError, ObjectMissingError, RequestRefusedError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.records import Outcome
from batchchat.jobs.results import finalize as module
from batchchat.jobs.storage import MemoryStorage
from tests.support.ended import LINE_BYTES, Hand, bare, completion, echo, whole

FIVE = b"".join(whole(f"q-{i}", f"text {i}") + b"\n" for i in range(5))


@pytest.fixture
def hand():
    return Hand()


def ids(hand, file_id):
    return [line["custom_id"] for line in hand.lines(file_id)]


def contents(hand):
    """Return the keys of all files' bytes."""
    entries = hand.storage.list("projects/default/files/")
    return {entry.key for entry in entries if entry.key.endswith("/content")}


def test_results_are_in_the_order_of_the_input(hand):
    batch_id = hand.submit(FIVE)
    for shard in reversed(hand.plan(batch_id).shards):
        results = hand.results(batch_id, shard)
        hand.commit(batch_id, shard.index, results[1:], results[:1])
    final = hand.finalize(batch_id).final
    assert ids(hand, final.output_file_id) == [f"q-{i}" for i in range(5)]
    assert final.error_file_id is None


def test_the_record_sums_up_and_pins_one_attempt_a_shard(hand):
    state = hand.ended(FIVE)
    final = state.final
    assert (final.counts.total, final.counts.completed) == (5, 5)
    assert (final.usage.input_tokens, final.usage.output_tokens) == (15, 25)
    costs = [
        line["response"]["body"]["usage"]["estimated_cost"]
        for line in hand.lines(final.output_file_id)
    ]
    assert float(final.estimated_cost) == pytest.approx(sum(costs))
    assert len(final.attempts) == 3
    assert final.engines == {"fp": {"version": "1"}}


def test_the_result_files_are_published_with_their_size(hand):
    state = hand.ended(FIVE)
    file = hand.ledger.file(state.final.output_file_id)
    assert file.bytes == len(hand.file(file.id)) == state.final.output_bytes
    assert file.filename == f"{state.batch.id}_output.jsonl"
    assert file.purpose == "batch_output"


def test_finalizing_again_changes_nothing(hand):
    state = hand.ended(FIVE)
    before = contents(hand)
    assert hand.finalize(state.batch.id) == state
    assert hand.finalize(state.batch.id, "cancelled").status == "completed"
    assert contents(hand) == before


def test_a_killed_finalizer_s_files_are_published_by_the_next_one(hand, monkeypatch):
    batch_id = hand.submit(FIVE)
    hand.run(batch_id)
    with monkeypatch.context() as patch:
        patch.setattr(module, "publish_results", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            hand.finalize(batch_id)
    output = hand.ledger.state(batch_id).final.output_file_id
    with pytest.raises(NotFoundError):
        hand.ledger.file(output)
    assert hand.finalize(batch_id).final.output_file_id == output
    assert hand.ledger.file(output).id == output


class Overtaken(MemoryStorage):
    """A storage in which another finalizer is always a moment quicker."""

    rival: Outcome | None = None

    def create(self, key, data):
        if key.endswith("/final.json") and self.rival is None:
            self.rival = records.decode(Outcome, data, key)
            hand = Hand(self)
            self.rival = hand.finalize(key.split("/")[-2]).final
        return super().create(key, data)


def test_of_two_finalizers_one_counts_and_the_other_deletes_its_files():
    storage = Overtaken()
    hand = Hand(storage)
    state = hand.ended(FIVE)
    assert state.final is not None
    assert state.final == storage.rival
    mine = (state.final.output_file_id, state.batch.input_file_id)
    keys = hand.ledger.keys
    assert contents(hand) == {keys.content(file_id) for file_id in mine if file_id}


def test_if_both_finalizers_succeed_both_keep_their_files():
    class BothWin(Overtaken):
        def create(self, key, data):
            return super().create(key, data) or key.endswith("/final.json")

    hand = Hand(BothWin())
    hand.ended(FIVE)
    assert len(contents(hand)) == 3


def test_a_batch_that_has_failed_meanwhile_stays_failed(hand):
    batch_id = hand.submit(FIVE + b"\n{")
    state = hand.finalize(batch_id, "expired")
    assert (state.status, state.final) == ("failed", None)


@pytest.mark.parametrize(
    ("status", "code"),
    [("cancelled", "batch_cancelled"), ("expired", "batch_expired")],
)
def test_requests_that_never_ran_get_error_lines_but_do_not_count_as_failed(
    hand, status, code
):
    batch_id = hand.submit(FIVE)
    hand.run(batch_id, shards=1)
    state = hand.finalize(batch_id, status)
    errors = hand.lines(state.final.error_file_id)
    assert ids(hand, state.final.output_file_id) == ["q-0", "q-1"]
    assert [line["custom_id"] for line in errors] == ["q-2", "q-3", "q-4"]
    assert {line["error"]["code"] for line in errors} == {code}
    assert state.status == status
    assert (state.counts().completed, state.counts().failed) == (2, 0)


def test_a_cancelled_batch_keeps_what_was_checkpointed_without_a_commit(hand):
    batch_id = hand.submit(FIVE)
    shard = hand.plan(batch_id).shards[1]
    hand.checkpoint(batch_id, 1, hand.results(batch_id, shard)[1:])
    state = hand.finalize(batch_id, "cancelled")
    assert ids(hand, state.final.output_file_id) == ["q-3"]
    assert ids(hand, state.final.error_file_id) == ["q-0", "q-1", "q-2", "q-4"]
    assert state.usage().output_tokens == 5


class Late(MemoryStorage):
    """Does not list checkpoints yet."""

    def list(self, prefix, start_after=""):
        for entry in super().list(prefix, start_after):
            if "/shards/" not in entry.key:
                yield entry


@pytest.mark.parametrize("storage", [Late, MemoryStorage])
def test_a_cancelled_batch_keeps_what_was_handed_back_and_is_not_listed_yet(storage):
    hand = Hand(storage())
    batch_id = hand.submit(FIVE)
    results = hand.results(batch_id, hand.plan(batch_id).shards[0])
    attempt, kept = hand.checkpoint(batch_id, 0, results[1:], results[:1])
    keys = hand.ledger.keys.batch(batch_id)
    handed_back = records.encode(kept.commit(0, attempt, 1_000))
    hand.storage.put(keys.handed_back(0), handed_back)
    hand.storage.put(keys.handed_back(1), b"{")
    final = hand.finalize(batch_id, "cancelled").final
    made = hand.ledger.commit(keys, 0)
    assert final
    assert made
    assert ids(hand, final.output_file_id) == ["q-0", "q-1"]
    assert made.parts == kept.parts


def test_a_batch_cancelled_before_planning_has_no_files(hand):
    batch_id = hand.submit(FIVE, plan=False)
    final = hand.finalize(batch_id, "cancelled").final
    assert final.output_file_id is final.error_file_id is None
    assert final.counts.total == 0


def test_of_two_results_for_one_line_the_first_counts(hand):
    batch_id = hand.submit(whole("a", "x"))
    [shard] = hand.plan(batch_id).shards
    first, second = (
        hand.results(batch_id, shard, lambda _, text=text: completion(text))
        for text in ("first", "second")
    )
    hand.commit(batch_id, 0, first, second)
    state = hand.finalize(batch_id)
    [line] = hand.lines(state.final.output_file_id)
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "first"
    assert state.counts().completed == 1
    assert state.usage().output_tokens == 5


@pytest.mark.parametrize("damage", ["altered", "gone"])
def test_a_corrupt_checkpoint_loses_only_its_own_results(hand, damage):
    batch_id = hand.submit(FIVE)
    hand.run(batch_id)
    keys = hand.ledger.keys.batch(batch_id)
    [entry] = hand.storage.list(keys.shard(1))
    if damage == "gone":
        hand.storage.delete(entry.key)
    else:
        data = hand.storage.get(entry.key)
        hand.storage.put(entry.key, data.replace(b"text 2", b"text 9"))
    state = hand.finalize(batch_id)
    errors = hand.lines(state.final.error_file_id)
    assert [line["error"]["code"] for line in errors] == ["result_damaged"] * 2
    assert state.status == "completed"
    assert state.counts().done() == (3, 2)


def test_a_truncated_uncommitted_checkpoint_is_skipped(hand):
    batch_id = hand.submit(FIVE)
    shard = hand.plan(batch_id).shards[0]
    hand.checkpoint(batch_id, 0, hand.results(batch_id, shard))
    [entry] = hand.storage.list(hand.ledger.keys.batch(batch_id).shard(0))
    hand.storage.put(entry.key, hand.storage.get(entry.key)[:-9])
    final = hand.finalize(batch_id, "cancelled").final
    assert final.output_file_id is None
    assert len(hand.lines(final.error_file_id)) == 5


def test_an_unfinished_batch_publishes_no_files(hand):
    state = hand.ledger.state(hand.submit(FIVE))
    before = contents(hand)
    module.publish_results(hand.ledger, state)
    assert contents(hand) == before


class Forgetful(MemoryStorage):
    """A storage that loses commits."""

    def create(self, key, data):
        return "/commits/" not in key and super().create(key, data)


def test_a_commit_that_disappears_after_its_write_stops_finalizing():
    hand = Hand(Forgetful())
    batch_id = hand.submit(FIVE)
    with pytest.raises(ObjectMissingError, match="commits/00000"):
        hand.finalize(batch_id, "cancelled")


def test_invalid_duplicate_and_blank_lines_keep_their_positions(hand):
    data = (
        b"\xef\xbb\xbf" + whole("a", "x") + b"\r\n\r\n{\n" + whole("a", "y") + b"\n \n"
    )
    state = hand.ended(data + bare("z"), on_invalid="skip")
    assert ids(hand, state.final.output_file_id) == ["a", "request-6"]
    assert ids(hand, state.final.error_file_id) == [None, "a"]
    assert (state.counts().completed, state.counts().failed) == (2, 2)


def test_requests_that_never_ran_have_their_default_custom_id(hand):
    data = bare("x") + b"\r\n\r\n" + b"y" * (LINE_BYTES + 1) + b"\n" + bare("z")
    batch_id = hand.submit(data, on_invalid="skip")
    final = hand.finalize(batch_id, "expired").final
    assert ids(hand, final.error_file_id) == ["request-1", None, "request-4"]


def test_refused_requests_count_as_failed(hand):
    def refuse(request):
        return (
            RequestRefusedError("no") if request.custom_id == "q-1" else echo(request)
        )

    state = hand.ended(FIVE, refuse)
    assert ids(hand, state.final.error_file_id) == ["q-1"]
    assert (state.counts().completed, state.counts().failed) == (4, 1)
