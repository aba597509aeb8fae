"""Without a price the cost of a batch is unknown, which is not zero."""

from decimal import Decimal

import msgspec
import pytest

from batchchat.cli.backends.report import cost
from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.ledger.records import Outcome
from batchchat.jobs.ledger.state import State
from tests.support import ended
from tests.support.ended import Hand, bare


@pytest.fixture
def hand(monkeypatch):
    """A helper whose model has no price."""
    monkeypatch.setattr(ended, "MODEL", Model(name="m", source="m"))
    monkeypatch.setattr(ended, "PRICE", None)
    return Hand()


def outcome_of(state: State) -> Outcome:
    """Return how a batch ended."""
    assert state.final is not None
    return state.final


@pytest.mark.parametrize("status", ["in_progress", "completed", "cancelled"])
def test_a_batch_of_a_model_without_a_price_has_no_cost(hand, status):
    batch_id = hand.submit(bare("a"))
    hand.run(batch_id)
    if status != "in_progress":
        hand.finalize(batch_id, status)
    batch = batch_object(hand.ledger.state(batch_id))
    assert b'"estimated_cost":null' in encode(batch)
    assert cost(batch) == "unknown: no price in the catalog"


@pytest.mark.parametrize(("ends", "text"), [(False, "not known yet"), (True, "none")])
def test_a_batch_without_a_plan_has_no_cost(ends, text):
    hand = Hand()
    batch_id = hand.submit(bare("a"), plan=False)
    if ends:
        hand.finalize(batch_id, "cancelled")
    batch = batch_object(hand.ledger.state(batch_id))
    assert (batch.estimated_cost, cost(batch)) == (None, text)


def test_only_an_outcome_without_a_cost_has_the_newer_format(hand, monkeypatch):
    outcome = outcome_of(hand.ended(bare("a")))
    assert (outcome.estimated_cost, outcome.format) == (None, 2)
    monkeypatch.undo()
    outcome = outcome_of(Hand().ended(bare("a")))
    assert outcome.estimated_cost
    assert outcome.format == 1


def test_a_zero_that_an_older_version_recorded_is_no_cost(hand):
    state = hand.ended(bare("a"))
    old = msgspec.structs.replace(
        outcome_of(state), estimated_cost=Decimal(0), format=1
    )
    key = hand.ledger.keys.batch(state.batch.id).final
    hand.storage.put(key, records.encode(old))
    assert hand.ledger.state(state.batch.id).cost() is None


def test_the_record_of_the_end_keeps_the_cost_if_the_plan_is_lost():
    hand = Hand()
    state = hand.ended(bare("a"))
    hand.storage.delete(hand.ledger.keys.batch(state.batch.id).plan)
    known = outcome_of(state).estimated_cost
    assert known
    assert hand.ledger.state(state.batch.id).cost() == known
