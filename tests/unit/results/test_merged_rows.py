"""One file with the results of a batch and of its retries."""

import json

import pyarrow.parquet as pq
import pytest

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.results.export import export
from batchchat.jobs.results.retry import retry_input, retry_options
from tests.support.ended import Hand, completion, echo, whole

DATA = b"".join(whole(f"q-{n}", f"text {n}") + b"\n" for n in range(8))


@pytest.fixture
def hand():
    return Hand()


def failing(*custom_ids, status_code=500):
    """Return a model that fails for some requests."""

    def answer(request):
        if request.custom_id in custom_ids:
            return RequestRefusedError("no", code="x", status_code=status_code)
        return echo(request)

    return answer


def retried(hand, state, answer):
    """Return the state of a retry with merged output."""
    data = b"".join(retry_input(hand.ledger, state))
    options = retry_options(hand.ledger.batch(state.batch.id), merge=True)
    wanted = {name: getattr(options, name) for name in options.__struct_fields__}
    return hand.ended(data, answer, **wanted)


def merged(hand, state, tmp_path, formats="jsonl"):
    """Return the custom_ids of the merged output and error file."""
    export(hand.ledger, state.batch.id, tmp_path / "all.jsonl", formats)
    return [
        [json.loads(line)["custom_id"] for line in path.read_bytes().splitlines()]
        if path.exists()
        else None
        for path in (tmp_path / "all.jsonl", tmp_path / "all.errors.jsonl")
    ]


def test_old_and_new_answers_are_in_the_order_of_the_first_input(hand, tmp_path):
    first = hand.ended(DATA, failing("q-0", "q-3", "q-7"))
    again = retried(hand, first, lambda _: completion("new"))
    assert merged(hand, again, tmp_path) == [[f"q-{n}" for n in range(8)], None]
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    assert ["new" in line for line in lines] == [n in {0, 3, 7} for n in range(8)]


def test_a_chain_of_retries_is_merged_as_one(hand, tmp_path):
    first = hand.ended(DATA, failing("q-0", "q-3", "q-7"))
    second = retried(hand, first, failing("q-0", "q-7"))
    third = retried(hand, second, failing("q-0"))
    outputs, errors = merged(hand, third, tmp_path)
    assert outputs == [f"q-{n}" for n in range(1, 8)]
    assert errors == ["q-0"]


def test_requests_that_were_not_retried_keep_their_error(hand, tmp_path):
    first = hand.ended(DATA, failing("q-1", status_code=400))
    cancelled = hand.finalize(hand.submit(DATA), "cancelled")
    assert first.counts().failed == 1
    with pytest.raises(Exception, match="nothing to retry"):
        retry_input(hand.ledger, first)
    again = retried(hand, cancelled, failing("q-5", status_code=400))
    outputs, errors = merged(hand, again, tmp_path)
    assert errors == ["q-5"]
    assert len(outputs) == 7


def test_the_parquet_file_has_a_row_for_each_request_of_the_first_input(hand, tmp_path):
    first = hand.ended(DATA, failing("q-2"))
    again = retried(hand, first, echo)
    merged(hand, again, tmp_path, "both")
    table = pq.read_table(tmp_path / "all.parquet").to_pydict()
    assert table["custom_id"] == [f"q-{n}" for n in range(8)]
    assert table["line"] == list(range(1, 9))
    assert table["content"] == [f"re: text {n}" for n in range(8)]


def test_a_retry_of_a_merged_retry_is_not_merged_unless_asked_for(hand):
    first = hand.ended(DATA, failing("q-2"))
    again = retried(hand, first, failing("q-2"))
    assert not retry_options(hand.ledger.batch(again.batch.id)).merge
