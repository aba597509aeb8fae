"""Error lines for requests without a result in a batch of invalid lines only."""

import pytest

from tests.support.ended import Hand, whole

BAD = b"\n".join(whole(name, "x", temperature=9) for name in "abc")


@pytest.fixture
def hand():
    return Hand()


def test_invalid_lines_need_no_commit(hand):
    batch_id = hand.submit(BAD)
    assert hand.ledger.state(batch_id).status == "finalizing"
    state = hand.finalize(batch_id)
    errors = hand.lines(state.final.error_file_id)
    assert [one["custom_id"] for one in errors] == ["a", "b", "c"]
    assert (state.status, state.counts().failed) == ("completed", 3)


def test_finalizing_again_after_a_crash_gives_the_same_lines(hand):
    batch_id = hand.submit(BAD)
    first = hand.finalize(batch_id)
    lines = hand.lines(first.final.error_file_id)
    hand.storage.delete(hand.ledger.keys.batch(batch_id).final)
    again = hand.finalize(batch_id)
    assert hand.lines(again.final.error_file_id) == lines
    assert again.counts() == first.counts()


@pytest.mark.parametrize("report", [b"{", None])
def test_every_line_has_an_error_even_if_the_report_is_damaged(hand, report):
    batch_id = hand.submit(BAD)
    key = hand.ledger.keys.batch(batch_id).problems
    hand.storage.delete(key) if report is None else hand.storage.put(key, report)
    final = hand.finalize(batch_id).final
    errors = hand.lines(final.error_file_id)
    assert [one["custom_id"] for one in errors] == ["a", "b", "c"]
    assert {one["error"]["code"] for one in errors} == {"result_damaged"}
