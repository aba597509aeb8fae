"""Which batches a new batch reuses, and what it gets from them."""

import pytest

from batchchat.jobs.deletion.deletion import Deleter
from batchchat.jobs.errors import ConflictError, NotFoundError, UsageError
from batchchat.jobs.files.files import Files
from batchchat.jobs.files.reused_batches import with_reused_batches
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.readers import readers_of
from tests.support.reusing import run, submit
from tests.support.running import Bench, lines

DATA = lines(3)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def chosen(bench, *reuse, **options):
    asked = BatchOptions(reuse=reuse, **options)
    return with_reused_batches(bench.ledger, asked, new_batch_id(), "echo")


def test_a_batch_gets_the_seed_and_the_time_of_the_first_batch_it_reuses(bench):
    first, second = run(bench, DATA).batch, run(bench, DATA).batch
    found = chosen(bench, second.id, first.id)
    assert found.reuse == (second.id, first.id)
    assert (found.seed, found.prompt_time) == (second.seed, second.prompt_time)


def test_a_seed_and_a_time_that_were_chosen_stay(bench):
    first = run(bench, DATA).batch
    found = chosen(bench, first.id, seed=5, prompt_time=6)
    assert (found.seed, found.prompt_time) == (5, 6)


@pytest.mark.parametrize("reuse", [(), ("none",), ("auto",)])
def test_without_batches_to_reuse_a_batch_draws_its_own_seed(bench, reuse):
    found = chosen(bench, *reuse)
    assert (found.reuse, found.seed, found.prompt_time) == ((), None, None)


def test_auto_finds_the_last_ended_batches_of_the_model_with_results(bench):
    older = run(bench, DATA).batch.id
    newer = run(bench, DATA).batch.id
    submit(bench, DATA)  # has not ended
    run(bench, b"{}")  # has failed
    assert chosen(bench, "auto").reuse == (newer, older)
    other = with_reused_batches(
        bench.ledger, BatchOptions(reuse=("auto",)), new_batch_id(), "other"
    )
    assert other.reuse == ()


def test_auto_reuses_at_most_ten_batches(bench):
    ids = [run(bench, lines(1)).batch.id for _ in range(12)]
    assert chosen(bench, "auto").reuse == tuple(reversed(ids[2:]))


@pytest.mark.parametrize("reuse", [("auto", "none"), ("none", "x"), ("x",) * 101])
def test_names_that_can_not_be_combined_are_rejected(bench, reuse):
    with pytest.raises(UsageError) as caught:
        chosen(bench, *reuse)
    assert caught.value.hint


def test_a_batch_that_has_not_ended_can_not_be_reused(bench):
    running = submit(bench, DATA)
    with pytest.raises(ConflictError, match="its status is validating"):
        chosen(bench, running)


def test_a_batch_without_results_can_not_be_reused(bench):
    refused = run(bench, lines(1).replace(b"question", b"x" * 600)).batch.id
    with pytest.raises(ConflictError, match="no completed requests"):
        chosen(bench, refused)


@pytest.mark.parametrize("unknown", ["batch_1", f"batch_{0:032x}"])
def test_an_unknown_batch_can_not_be_reused(bench, unknown):
    with pytest.raises(NotFoundError):
        chosen(bench, unknown)


def test_a_batch_of_another_project_can_not_be_reused(bench):
    theirs = run(bench, DATA).batch.id
    bench.project = "other"
    with pytest.raises(NotFoundError):
        chosen(bench, theirs)
    assert chosen(bench, "auto").reuse == ()


def test_results_that_a_batch_reuses_can_not_be_deleted_until_it_has_ended(bench):
    first = run(bench, DATA)
    second = submit(bench, DATA, first.batch.id)
    assert first.final
    files, output = Files(bench.ledger), str(first.final.output_file_id)
    with pytest.raises(ConflictError, match=f"read by the unfinished batch `{second}`"):
        files.delete(output)
    assert list(readers_of(bench.ledger, first.batch.id)) == [second]
    bench.run(second)
    assert list(readers_of(bench.ledger, first.batch.id)) == []
    files.delete(output)
    with pytest.raises(NotFoundError, match="its output file was deleted"):
        chosen(bench, first.batch.id)


def test_a_batch_is_deleted_once_no_running_batch_reuses_it(bench):
    first = run(bench, DATA)
    second = submit(bench, DATA, first.batch.id)
    with pytest.raises(ConflictError, match=second):
        Deleter(bench.ledger).delete(first.batch.id)
    ended = bench.run(second)
    before = bench.results(ended)
    Deleter(bench.ledger).delete(first.batch.id)
    assert not list(bench.storage.list(bench.ledger.keys.batch(first.batch.id).top))
    assert bench.results(bench.ledger.state(second)) == before
    third = run(bench, DATA, second)
    assert third.reused() == 3
