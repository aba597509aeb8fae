"""Only what has ended, is delivered and that no other batch needs is deleted."""

import pytest

from batchchat.jobs.deletion.deletion import Deleter
from batchchat.jobs.errors import ConflictError, NotFoundError
from batchchat.jobs.files.files import Files
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.readers import add_reader
from batchchat.jobs.ledger.records import DeliveryReceipt
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import cancel_batch, create_batch
from batchchat.jobs.results.merged_rows import MergedRows
from batchchat.jobs.results.retry import retry_input, retry_options
from batchchat.jobs.rows.row_options import RowOptions
from tests.support.batch_options import options_of
from tests.support.ended import Hand, echo, whole
from tests.support.row_batches import read_parquet
from tests.support.table_rows import parquet_of

DATA = b"".join(whole(f"q-{number}", "text") + b"\n" for number in range(3))


@pytest.fixture
def hand():
    return Hand()


def refused(hand, batch_id, match, now=1_000.0):
    """Check that a batch is not deleted, that nothing changes, and that a hint says
    what to do."""
    before = [(e.key, hand.storage.get(e.key)) for e in hand.storage.list("")]
    deleter = Deleter(Ledger(hand.storage, hand.project, lambda: now))
    for act in (deleter.preview, deleter.delete):
        with pytest.raises(ConflictError, match=match) as raised:
            act(batch_id)
        assert raised.value.hint
    after = [(e.key, hand.storage.get(e.key)) for e in hand.storage.list("")]
    assert after == before


def some_failed(request):
    return None if request.custom_id == "q-1" else echo(request)


def retried(hand, original, **how):
    """Return the id of an ended retry of a batch."""
    state = hand.ledger.state(original)
    asked = retry_options(state.batch, **how)
    file = store_file(hand.ledger, retry_input(hand.ledger, state), "retry.jsonl")
    batch_id = create_batch(hand.ledger, file, asked).id
    hand.make_plan(batch_id)
    hand.run(batch_id)
    hand.finalize(batch_id)
    return batch_id


def cancelled(hand, **options):
    batch_id = hand.submit(DATA, **options)
    hand.run(batch_id, some_failed, shards=1)
    cancel_batch(hand.ledger, batch_id)
    hand.finalize(batch_id, "cancelled")
    return batch_id


@pytest.mark.parametrize("shards", [0, 1, 2])
def test_a_batch_that_has_not_ended_is_not_deleted(hand, shards):
    batch_id = hand.submit(DATA)
    hand.run(batch_id, shards=shards)
    status = "finalizing" if shards == 2 else "in_progress"
    refused(hand, batch_id, f"`{batch_id}` is {status}")
    cancel_batch(hand.ledger, batch_id)
    refused(hand, batch_id, "is cancelling")


def test_a_batch_that_is_not_planned_is_not_deleted(hand):
    refused(hand, hand.submit(DATA, plan=False), "is validating")


def test_a_batch_is_not_deleted_before_its_results_are_delivered(hand):
    batch_id = hand.ended(DATA, destination="s3://bucket/out").batch.id
    refused(hand, batch_id, "not delivered to `s3://bucket/out`")
    receipt = records.encode(DeliveryReceipt(1_000, []))
    hand.storage.put(hand.ledger.keys.batch(batch_id).delivery_receipt, receipt)
    assert Deleter(hand.ledger).delete(batch_id).objects


def test_a_batch_is_deleted_once_its_delivery_is_given_up(hand):
    batch_id = hand.ended(DATA, destination="s3://bucket/out").batch.id
    refused(hand, batch_id, "not delivered", now=1_000.0 + 86_400)
    later = Ledger(hand.storage, hand.project, lambda: 1_000.0 + 100_000)
    assert Deleter(later).delete(batch_id).objects


def test_a_rejected_batch_is_deleted_with_its_input(hand):
    batch_id = hand.submit(b"no JSON\n", on_invalid="fail")
    assert Deleter(hand.ledger).delete(batch_id).keeps_input is False
    assert [e.key for e in hand.storage.list("")] == [
        hand.ledger.keys.deletion(batch_id)
    ]


def test_a_merged_retry_keeps_all_batches_that_it_repeats(hand):
    first = cancelled(hand)
    second = retried(hand, first)
    hand.storage.delete(hand.ledger.keys.batch(second).final)  # end it once more
    cancel_batch(hand.ledger, second)
    for key in [
        e.key for e in hand.storage.list(hand.ledger.keys.batch(second).commits)
    ]:
        hand.storage.delete(key)
    for key in [
        e.key for e in hand.storage.list(hand.ledger.keys.batch(second).shards)
    ]:
        hand.storage.delete(key)
    hand.finalize(second, "cancelled")
    third = retried(hand, second, merge=True)
    for needed in (first, second):
        refused(hand, needed, f"`{third}` reads the results of `{needed}`")
    assert len(list(MergedRows(hand.ledger, hand.ledger.state(third)))) == 3
    for batch_id in (third, second, first):
        Deleter(hand.ledger).delete(batch_id)
    assert list(hand.ledger.batch_ids()) == []


def test_a_retry_without_merging_needs_nothing(hand):
    first = cancelled(hand)
    second = retried(hand, first)
    Deleter(hand.ledger).delete(first)
    with pytest.raises(ConflictError, match=f"`{first}`.* was deleted"):
        create_batch(
            hand.ledger,
            store_file(hand.ledger, [DATA], "in.jsonl"),
            BatchOptions(model="m", retry_of=second, merge=True),
        )
    assert hand.lines(hand.ledger.outcome(second).output_file_id)


def test_a_retry_keeps_the_batches_through_which_it_finds_its_rows(hand):
    table = parquet_of({"question": [f"q {number}" for number in range(6)]})
    rows = RowOptions(prompt="{{ question }}")
    first = hand.submit(table, rows=rows)
    hand.run(first, shards=1)
    hand.finalize(first, "expired")
    asked = retry_options(hand.ledger.batch(first))
    lines = b"".join(retry_input(hand.ledger, hand.ledger.state(first)))
    second = hand.submit(lines, **options_of(asked))
    hand.run(second, shards=1)
    hand.finalize(second, "expired")
    third = retried(hand, second)
    for needed in (first, second):
        refused(hand, needed, f"reads the results of `{needed}`")
    found = read_parquet(hand, hand.ledger.state(third)).to_pydict()
    assert found["question"] == ["q 4", "q 5"]
    for batch_id in (third, second, first):
        Deleter(hand.ledger).delete(batch_id)
    assert not [e.key for e in hand.storage.list("") if "/readers/" in e.key]


def test_an_input_that_another_batch_reads_is_kept(hand):
    first = hand.ended(DATA).batch
    file = hand.ledger.file(first.input_file_id)
    second = create_batch(hand.ledger, file, BatchOptions(model="m")).id
    for batch_id in (first.id, second):
        Files(hand.ledger).use(file.id, batch_id)
    assert Deleter(hand.ledger).preview(first.id).keeps_input
    assert Deleter(hand.ledger).delete(first.id).keeps_input
    assert hand.file(file.id) == DATA
    assert Files(hand.ledger).get(file.id) == file


def test_an_input_is_kept_on_request(hand):
    batch = hand.ended(DATA).batch
    Files(hand.ledger).use(batch.input_file_id, batch.id)
    whole_size = Deleter(hand.ledger).preview(batch.id).bytes
    removal = Deleter(hand.ledger).delete(batch.id, keep_input=True)
    assert 0 < removal.bytes < whole_size - len(DATA)
    assert hand.file(batch.input_file_id) == DATA
    assert Files(hand.ledger).get(batch.input_file_id)


def test_the_size_is_that_of_all_objects(hand):
    batch_id = hand.ended(DATA, output_format="both").batch.id
    entries = list(hand.storage.list(""))
    removal = Deleter(hand.ledger).preview(batch_id)
    assert removal == Deleter(hand.ledger).delete(batch_id)
    assert removal.objects == len(entries)
    assert removal.bytes == sum(entry.size for entry in entries)


def test_a_deleted_batch_is_not_found(hand):
    batch_id = hand.ended(DATA).batch.id
    ledger = hand.ledger
    ledger.state(batch_id)  # is cached from here on
    Deleter(hand.ledger).delete(batch_id)
    for act in (ledger.state, Deleter(ledger).delete, Deleter(ledger).preview):
        with pytest.raises(NotFoundError, match="no such batch"):
            act(batch_id)
    with pytest.raises(NotFoundError, match="no such batch"):
        ledger.state(batch_id, by_listing=True)


def test_another_project_has_no_such_batch(hand):
    batch_id = hand.ended(DATA).batch.id
    with pytest.raises(NotFoundError):
        Deleter(Ledger(hand.storage, "other")).delete(batch_id)
    assert hand.ledger.state(batch_id).is_terminal


def test_a_batch_leaves_no_marks_at_the_batches_that_it_reads(hand):
    source = hand.ended(DATA)
    output = source.final.output_file_id
    reader = hand.submit(DATA, reuse=(source.batch.id,))
    add_reader(hand.ledger, source.batch.id, reader)
    Files(hand.ledger).use(output, reader)
    refused(hand, source.batch.id, f"`{reader}` reads the results")
    hand.run(reader)
    hand.finalize(reader)
    Deleter(hand.ledger).delete(reader)
    assert [entry.key for entry in hand.storage.list("") if reader in entry.key] == [
        hand.ledger.keys.deletion(reader)
    ]


def test_an_output_that_was_reused_goes_with_its_batch(hand):
    source = hand.ended(DATA)
    reader = hand.submit(DATA, reuse=(source.batch.id,))
    add_reader(hand.ledger, source.batch.id, reader)
    Files(hand.ledger).use(source.final.output_file_id, reader)
    hand.run(reader)
    hand.finalize(reader)
    Deleter(hand.ledger).delete(source.batch.id)
    with pytest.raises(NotFoundError):
        Files(hand.ledger).get(source.final.output_file_id)
    assert hand.lines(hand.ledger.outcome(reader).output_file_id)
