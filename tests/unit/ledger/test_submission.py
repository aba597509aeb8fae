import pytest

from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from tests.support.batch_options import EVERY_OPTION, options_of
from tests.support.ended import Hand


@pytest.mark.parametrize("name", BatchOptions.__struct_fields__)
def test_the_example_sets_every_option(name):
    assert getattr(EVERY_OPTION, name) != getattr(BatchOptions(), name)


def test_every_option_is_stored_with_the_batch():
    ledger = Hand().ledger
    input_file = store_file(ledger, [b"{}\n"], "in.jsonl")
    for needed in (EVERY_OPTION.retry_of, EVERY_OPTION.rows_of):
        create_batch(ledger, input_file, BatchOptions(), batch_id=needed)
    created = create_batch(ledger, input_file, EVERY_OPTION)
    stored = Hand(ledger.storage).ledger.batch(created.id)
    assert options_of(stored) == options_of(EVERY_OPTION)


def test_a_batch_without_a_seed_draws_one():
    ledger = Hand().ledger
    input_file = store_file(ledger, [b"{}\n"], "in.jsonl")
    seeds = {create_batch(ledger, input_file, BatchOptions()).seed for _ in range(3)}
    assert len(seeds) == 3
