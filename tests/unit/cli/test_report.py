"""How a batch has ended, and the exit status that says so."""

import pytest

from batchchat.cli.backends.report import INCOMPLETE, report_end
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.ledger.batch_object import batch_object
from tests.support.ended import Hand, bare

TWO = bare("a") + b"\n" + bare("b")


def reported(state):
    return report_end(batch_object(state), [])


@pytest.fixture
def hand():
    return Hand()


def test_a_batch_whose_requests_all_completed_is_a_success(hand):
    assert reported(hand.ended(TWO)) == 0


def test_a_failed_request_makes_a_batch_incomplete(hand, capsys):
    assert reported(hand.ended(TWO, lambda _: RequestRefusedError("no"))) == INCOMPLETE
    assert "--errors" in capsys.readouterr().err


@pytest.mark.parametrize("status", ["cancelled", "expired"])
@pytest.mark.parametrize("planned", [True, False])
def test_a_batch_that_ended_early_is_incomplete(hand, capsys, status, planned):
    batch_id = hand.submit(TWO, plan=planned)
    assert reported(hand.finalize(batch_id, status)) == INCOMPLETE
    next_step = "batchchat retry" if planned else "submit the file again"
    assert next_step in capsys.readouterr().err.partition("hint: ")[2]


def test_a_batch_that_completed_before_its_cancellation_is_a_success(hand):
    batch_id = hand.submit(TWO)
    hand.run(batch_id)
    assert reported(hand.finalize(batch_id, "cancelled")) == 0
