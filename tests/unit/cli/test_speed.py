"""The time to completion follows from the speed and the finished requests."""

import msgspec
import pytest

from batchchat.cli.backends.speed import average_speed, speed_of
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.ledger.records import Counts
from batchchat.workers.local.live_speed import Speed
from tests.support.ended import Hand, bare


@pytest.fixture(scope="module")
def batch():
    """A batch of 100 requests; 25 are finished, with 10 tokens each."""
    hand = Hand()
    state = hand.ledger.state(hand.submit(bare("a")))
    made = batch_object(state)
    usage = msgspec.structs.replace(made.usage, output_tokens=250)
    return msgspec.structs.replace(
        made, request_counts=Counts(100, 20, 5), usage=usage, in_progress_at=1_000
    )


def test_the_remaining_requests_take_as_many_tokens_each(batch):
    assert speed_of(batch, 50.0) == Speed(50.0, 15.0)


def test_the_average_counts_from_the_plan_on(batch):
    assert average_speed(batch, 1_010) == Speed(25.0, 30.0)


@pytest.mark.parametrize("done", [0, 15])
def test_few_results_give_no_time(batch, done):
    early = msgspec.structs.replace(batch, request_counts=Counts(100, done, 0))
    assert speed_of(early, 50.0) == Speed(50.0, None)


def test_without_a_speed_there_is_no_time(batch):
    assert speed_of(batch, 0.0) is None
    assert average_speed(batch, 1_000) is None
    planned = msgspec.structs.replace(batch, in_progress_at=None)
    assert average_speed(planned, 1_010) is None
