"""The cost of GPUs is that of the engines that ran, whatever was planned."""

from decimal import Decimal

import msgspec
import pytest

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.checkpoint import Result
from batchchat.jobs.ledger.records import Part
from batchchat.jobs.ledger.recovery import RecoveredResults
from batchchat.jobs.results.finalize import finalize
from tests.support.batch_records import BATCH, MODEL, OUTCOME, commit, new_ledger, plan

PER_HOUR = Decimal(2)
MODEL_OF_FOUR = msgspec.structs.replace(
    MODEL, engine={"tensor_parallel_size": 4}, gpu_hour=PER_HOUR
)
ONE_GPU = {"fp_1": {"tensor_parallel_size": 1, "arguments": {}}}
FOUR_GPUS = {"fp_4": {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}}
BY_ARGUMENTS = {"fp_8": {"engine": "echo", "arguments": {"tensor_parallel_size": 8}}}


def checkpoint(kept, line, seconds, engines):
    result = Result(
        line, completed=True, usage=Usage(), engine_seconds=seconds, text=b""
    )
    kept.add(Part(f"part-{line}", 1, ""), [result], engines)


@pytest.mark.parametrize(
    ("engines", "gpus"),
    [(ONE_GPU, 1), (FOUR_GPUS, 4), (BY_ARGUMENTS, 8), ({"fp": {}}, 1), (None, 1)],
)
def test_checkpoint_counts_the_gpus_of_its_engine(engines, gpus):
    kept = RecoveredResults()
    checkpoint(kept, 1, 1800, engines)
    made = kept.commit(0, "a", 5)
    assert (made.engine_seconds, made.gpu_seconds) == (1800, 1800 * gpus)


def test_repeated_results_count_once():
    kept = RecoveredResults()
    checkpoint(kept, 1, 10, FOUR_GPUS)
    checkpoint(kept, 1, 20, ONE_GPU)
    checkpoint(kept, 2, 30, ONE_GPU)
    assert kept.commit(0, "a", 5).gpu_seconds == 40 + 30


@pytest.fixture
def ledger():
    ledger = new_ledger()
    keys = ledger.keys.batch(BATCH.id)
    planned = msgspec.structs.replace(plan(shards=2), model=MODEL_OF_FOUR)
    ledger.storage.put(keys.plan, records.encode(planned))
    content = ledger.keys.content(BATCH.input_file_id)
    ledger.storage.put(content, b"not JSON\n\n" * 20)
    return ledger


def write_commit(ledger, shard, gpu_seconds):
    made = msgspec.structs.replace(
        commit(shard), engine_seconds=1800.0, gpu_seconds=gpu_seconds
    )
    key = ledger.keys.batch(BATCH.id).commit(shard)
    ledger.storage.put(key, records.encode(made))


@pytest.mark.parametrize(
    ("gpu_seconds", "cost"),
    [
        ((1800, 1800), 2),  # resumed with tensor_parallel_size 1
        ((None, None), 8),  # commits of an older version
        ((None, 1800), 5),
    ],
)
def test_cost_is_the_same_while_a_batch_runs_and_when_it_has_ended(
    ledger, gpu_seconds, cost
):
    for shard, seconds in enumerate(gpu_seconds):
        write_commit(ledger, shard, seconds)
    assert ledger.state(BATCH.id).engine_cost() == cost
    finalize(ledger, BATCH.id, "cancelled")
    state = ledger.state(BATCH.id)
    assert state.final is not None
    assert state.engine_cost() == cost


def test_final_record_of_an_older_version_counts_the_planned_gpus(ledger):
    key = ledger.keys.batch(BATCH.id).final
    ledger.storage.put(key, records.encode(OUTCOME))
    hours = Decimal(4) / 3600
    assert ledger.state(BATCH.id).engine_cost() == round(4 * hours * PER_HOUR, 6)
