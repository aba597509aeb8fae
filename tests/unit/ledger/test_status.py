"""The status follows from the records that exist; the table has every combination."""

from itertools import product

import pytest

from batchchat.jobs.ledger.state import TERMINAL, fold

FINAL = [None, "completed", "failed", "expired", "cancelled"]
PLAN = [None, "failed", "made"]

WITHOUT_FINAL = {
    # cancelled, plan, all_committed
    (False, None, False): "validating",
    (False, None, True): "validating",
    (False, "failed", False): "failed",
    (False, "failed", True): "failed",
    (False, "made", False): "in_progress",
    (False, "made", True): "finalizing",
    (True, None, False): "cancelling",
    (True, None, True): "cancelling",
    (True, "failed", False): "failed",
    (True, "failed", True): "failed",
    (True, "made", False): "cancelling",
    (True, "made", True): "cancelling",
}
ALL = list(product(FINAL, [False, True], PLAN, [False, True]))
WORDS = {"validating", "in_progress", "finalizing", "cancelling", *TERMINAL}


@pytest.mark.parametrize(("final", "cancelled", "plan", "all_committed"), ALL)
def test_every_combination_has_its_status(final, cancelled, plan, all_committed):
    expected = final or WITHOUT_FINAL[cancelled, plan, all_committed]
    status = fold(
        final=final, cancelled=cancelled, plan=plan, all_committed=all_committed
    )
    assert status == expected
    assert status in WORDS


def test_the_status_table_is_complete():
    assert len(WITHOUT_FINAL) == 2 * 3 * 2
    assert set(WITHOUT_FINAL.values()) == WORDS - {"completed", "expired", "cancelled"}
