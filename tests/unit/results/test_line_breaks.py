"""One result is one line for readers that split at any Unicode line break."""

import json
from hashlib import sha256
from io import BytesIO

import pytest

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.ledger.checkpoint import PackedCheckpoint, pack
from batchchat.jobs.results.parquet import write_parquet
from batchchat.jobs.results.result_stream import finished_results
from batchchat.jobs.results.retry import retry_input
from tests.support import ended
from tests.support.ended import Hand, completion, whole

BREAKS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"
DATA = b"".join(whole(f"q{BREAKS}{n}", f"text{BREAKS}{n}") + b"\n" for n in range(5))


@pytest.fixture
def hand():
    return Hand()


def answer(request):
    """Answer with line breaks; refuse the third request with them."""
    if request.line == 3:
        return RequestRefusedError(f"no{BREAKS}", param=f"messages{BREAKS}")
    return completion(f"re: {request.body.messages[-1].text()}")


def records_of(data):
    """Return the records that a reader with `str.splitlines` finds."""
    return [json.loads(line) for line in data.decode().splitlines()]


def test_output_and_error_files_have_one_record_per_line(hand):
    final = hand.ended(DATA, answer).final
    output, errors = (
        records_of(hand.file(file_id))
        for file_id in (final.output_file_id, final.error_file_id)
    )
    assert [line["custom_id"] for line in output] == [
        f"q{BREAKS}{n}" for n in (0, 1, 3, 4)
    ]
    content = output[0]["response"]["body"]["choices"][0]["message"]["content"]
    assert content == f"re: text{BREAKS}0"
    assert [line["custom_id"] for line in errors] == [f"q{BREAKS}2"]
    assert errors[0]["response"]["body"]["error"]["message"] == f"no{BREAKS}"


def test_error_lines_of_requests_that_never_ran_have_one_record_per_line(hand):
    final = hand.finalize(hand.submit(DATA), "cancelled").final
    assert len(records_of(hand.file(final.error_file_id))) == 5


def test_error_lines_of_invalid_requests_have_one_record_per_line(hand):
    line = whole(f"q{BREAKS}", "x", **{f"x{BREAKS}": 1})
    final = hand.ended(line + b"\n" + DATA, on_invalid="skip").final
    [found] = records_of(hand.file(final.error_file_id))
    assert found["custom_id"] == f"q{BREAKS}"


def test_finished_results_have_one_record_per_line(hand):
    batch_id = hand.submit(DATA)
    hand.run(batch_id, answer)
    for _ in range(2):
        state = hand.ledger.state(batch_id)
        assert len(records_of(b"".join(finished_results(hand.ledger, state, 0)))) == 5
        hand.finalize(batch_id)


def test_retry_input_has_one_record_per_line(hand):
    line = DATA.replace(b"\\u2028", "\u2028".encode()).replace(b"\\u0085", b"\xc2\x85")
    state = hand.finalize(hand.submit(line), "cancelled")
    assert len(records_of(b"".join(retry_input(hand.ledger, state)))) == 5


def pack_raw(results, engines=None):
    """Return a checkpoint as versions wrote it that did not escape line breaks."""
    body = pack(results, engines).data.partition(b"\n")[2]
    body = body.replace(rb"\u2028", b"\xe2\x80\xa8").replace(
        rb"\u2029", b"\xe2\x80\xa9"
    )
    body = body.replace(rb"\u0085", b"\xc2\x85")
    digest = sha256(body).hexdigest()
    head = json.dumps({"results": len(results), "sha256": digest}).encode()
    return PackedCheckpoint(head + b"\n" + body, digest)


def test_results_that_an_earlier_version_stored_raw_are_escaped(hand, monkeypatch):
    batch_id = hand.submit(DATA)
    with monkeypatch.context() as earlier:
        earlier.setattr(ended, "pack", pack_raw)
        hand.run(batch_id, answer)
    state = hand.ledger.state(batch_id)
    running = b"".join(finished_results(hand.ledger, state, 0))
    assert len(records_of(running)) == 5
    state = hand.finalize(batch_id)
    assert len(records_of(hand.file(state.final.output_file_id))) == 4
    assert len(records_of(hand.file(state.final.error_file_id))) == 1
    assert write_parquet(hand.ledger, state, BytesIO()) == 5
