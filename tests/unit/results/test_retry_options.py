from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchchat.cli.backends.batch_view import LocalOutput
from batchchat.cli.backends.embedded import EmbeddedBackend
from batchchat.cli.backends.protocol import RetryOptions
from batchchat.cli.backends.session import Session
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.results.retry import retry_options
from batchchat.jobs.settings import Settings
from tests.support.batch_options import EVERY_OPTION, options_of
from tests.support.ended import MODEL, Hand, bare

NOT_COPIED = ("output", "retry_of", "merge", "rows", "rows_of", "reuse")
"""A retry names the batch it retries, and never overwrites that batch's local file. Its
input holds requests, even if that of the batch holds rows, and no earlier batch has
answered them."""


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def ended(hand):
    """The id of an ended batch with every option, one of its requests unanswered."""
    input_file = store_file(hand.ledger, [bare("a")], "in.jsonl")
    for needed in (EVERY_OPTION.retry_of, EVERY_OPTION.rows_of):
        create_batch(hand.ledger, input_file, BatchOptions(), batch_id=needed)
    batch = create_batch(hand.ledger, input_file, replace(EVERY_OPTION, rows=None))
    hand.make_plan(batch.id)
    hand.finalize(batch.id, "expired")
    return batch.id


@pytest.fixture
def backend(hand):
    return EmbeddedBackend(Session(Settings(), Catalog({"m": MODEL}), hand.ledger))


def test_every_option_survives_a_retry(hand, ended):
    original = replace(hand.ledger.batch(ended), rows=EVERY_OPTION.rows)
    options = retry_options(original)
    assert options.rows is None
    assert options_of(options, *NOT_COPIED) == options_of(EVERY_OPTION, *NOT_COPIED)
    assert (options.retry_of, options.output) == (ended, None)


def test_a_retry_may_have_another_cost_limit(hand, ended):
    options = retry_options(hand.ledger.batch(ended), Decimal(9))
    assert options.max_cost == 9


def test_every_option_survives_a_retry_from_the_command_line(hand, ended, backend):
    retried = hand.ledger.batch(backend.retry(ended, None, RetryOptions()))
    assert options_of(retried, *NOT_COPIED) == options_of(EVERY_OPTION, *NOT_COPIED)
    assert (retried.retry_of, retried.output) == (ended, None)


def test_a_local_output_replaces_where_the_results_go(hand, ended, backend):
    output = LocalOutput(Path("/tmp/more.jsonl"), "jsonl")  # noqa: S108 - only named
    retried = hand.ledger.batch(backend.retry(ended, output, RetryOptions()))
    changed = (*NOT_COPIED, "output_format", "destination")
    assert options_of(retried, *changed) == options_of(EVERY_OPTION, *changed)
    assert retried.output == "/tmp/more.jsonl"  # noqa: S108
    assert (retried.output_format, retried.destination) == ("jsonl", None)
