"""A retry has exactly the requests that another run may answer."""

import json

import pytest

from batchchat.jobs.errors import (
    ConflictError,
    CorruptObjectError,
    RequestRefusedError,
    UsageError,
)
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.results.retry import retry_input
from tests.support.ended import LINE_BYTES, Hand, bare, echo, whole


@pytest.fixture
def hand():
    return Hand()


def retried(hand, state):
    return b"".join(retry_input(hand.ledger, state)).splitlines(keepends=True)


def fails(*custom_ids, status_code=500):
    """Return what fails these requests, and answers the others."""

    def answer(request):
        if request.custom_id in custom_ids:
            return RequestRefusedError(
                "oh", code="engine_error", status_code=status_code
            )
        return echo(request)

    return answer


def test_failed_requests_are_retried_unchanged(hand):
    lines = [whole(f"q-{n}", str(n), seed=n) for n in range(5)]
    state = hand.ended(b"\n".join(lines), fails("q-1", "q-4"))
    assert retried(hand, state) == [lines[1] + b"\n", lines[4] + b"\n"]


def test_a_retry_input_counts_its_requests(hand):
    state = hand.ended(bare("a") + b"\n" + bare("b"), fails("request-1", "request-2"))
    again = retry_input(hand.ledger, state)
    assert again.requests == 0
    assert len(list(again)) == again.requests == 2


def test_requests_that_never_ran_are_retried(hand):
    lines = [whole(f"q-{n}", str(n)) for n in range(5)]
    batch_id = hand.submit(b"\n".join(lines))
    hand.run(batch_id, shards=1)
    state = hand.finalize(batch_id, "cancelled")
    assert retried(hand, state) == [line + b"\n" for line in lines[2:]]


def test_requests_that_would_fail_again_are_left_out_of_a_retry(hand):
    lines = [
        b"{",
        whole("a", "first"),
        b"",
        whole("a", "second"),
        b"x" * (LINE_BYTES + 1),
        whole("b", "x", temperature=9),
        whole("c", "last"),
    ]
    batch_id = hand.submit(b"\r\n".join(lines), on_invalid="skip")
    state = hand.finalize(batch_id, "expired")
    assert len(hand.lines(state.final.error_file_id)) == 6
    assert retried(hand, state) == [lines[1] + b"\r\n", lines[6] + b"\n"]


def test_refused_requests_are_not_retried(hand):
    state = hand.ended(
        bare("a") + b"\n" + bare("b"), fails("request-1", status_code=400)
    )
    with pytest.raises(UsageError, match="would fail again") as raised:
        retried(hand, state)
    assert raised.value.hint == (
        f"see the errors with `batchchat results {state.batch.id} --errors`"
    )


def test_the_first_of_two_lines_with_a_custom_id_is_retried(hand):
    lines = [whole("a", "first"), whole("a", "second")]
    state = hand.ended(b"\n".join(lines), fails("a"), on_invalid="skip")
    assert retried(hand, state) == [lines[0] + b"\n"]


def test_a_default_custom_id_is_kept(hand):
    data = b"\xef\xbb\xbf" + bare("a") + b"\r\n\n \t" + bare("b") + b" \r\n" + bare("c")
    state = hand.ended(data, fails("request-1", "request-3"))
    first, second = retried(hand, state)
    assert json.loads(first) == {"custom_id": "request-1"} | json.loads(bare("a"))
    assert json.loads(second) == {"custom_id": "request-3"} | json.loads(bare("b"))
    assert second.startswith(b'{"custom_id":"request-3","messages"')


def test_a_custom_id_of_null_is_replaced_by_the_default(hand):
    data = bare("a", custom_id=None)
    state = hand.ended(data, fails("request-1"))
    [line] = retried(hand, state)
    assert line.count(b"custom_id") == 1
    assert json.loads(line) == json.loads(bare("a")) | {"custom_id": "request-1"}


def test_a_custom_id_that_looks_like_a_default_is_unchanged(hand):
    data = [whole("request-1", "a"), bare("b", custom_id="request-2")]
    state = hand.ended(b"\n".join(data), fails("request-1", "request-2"))
    assert retried(hand, state) == [line + b"\n" for line in data]


def test_the_retry_input_repeats_the_requests(hand):
    data = b"\n".join(bare(str(n)) for n in range(4))
    state = hand.ended(data, fails("request-2", "request-4"))
    again = store_file(hand.ledger, retry_input(hand.ledger, state), "again.jsonl")
    ended = hand.ended(hand.file(again.id))
    output = hand.lines(ended.final.output_file_id)
    assert [line["custom_id"] for line in output] == ["request-2", "request-4"]
    texts = [line["response"]["body"]["choices"][0]["message"] for line in output]
    assert [text["content"] for text in texts] == ["re: 1", "re: 3"]


def test_a_completed_batch_has_nothing_to_retry(hand):
    state = hand.ended(bare("a"))
    with pytest.raises(UsageError, match="all requests of"):
        retry_input(hand.ledger, state)


def test_an_unplanned_batch_has_nothing_to_retry(hand):
    batch_id = hand.submit(bare("a"), plan=False)
    state = hand.finalize(batch_id, "cancelled")
    with pytest.raises(UsageError, match="before its input was checked"):
        retry_input(hand.ledger, state)


def test_a_batch_that_has_not_ended_is_not_retried(hand):
    state = hand.ledger.state(hand.submit(bare("a")))
    with pytest.raises(ConflictError, match="has not ended"):
        retry_input(hand.ledger, state)


def test_a_failed_batch_cannot_be_retried(hand):
    state = hand.ledger.state(hand.submit(b"{"))
    with pytest.raises(ConflictError, match="failed, so it has no results"):
        retry_input(hand.ledger, state)


def test_a_corrupt_result_is_an_error_with_its_line(hand):
    state = hand.ended(bare("a"), fails("request-1"))
    key = hand.ledger.keys.content(state.final.error_file_id or "")
    hand.storage.put(key, hand.storage.get(key).replace(b'"code"', b'"doce"'))
    with pytest.raises(CorruptObjectError, match="is corrupt"):
        retry_input(hand.ledger, state)
