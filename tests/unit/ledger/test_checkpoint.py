"""A checkpoint returns exactly what was packed, or is corrupt."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import CorruptObjectError, NewerFormatError
from batchchat.jobs.ledger.checkpoint import Result, pack, read_header, tally, unpack
from batchchat.jobs.ledger.records import Counts

texts = st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=3)
counts = st.integers(0, 2**53)
results = st.builds(
    Result,
    line=st.integers(1, 10**9),
    completed=st.booleans(),
    usage=st.builds(Usage, counts, counts, counts),
    engine_seconds=st.integers(0, 10**12).map(lambda millionths: millionths / 10**6),
    text=texts.map(lambda text: json.dumps(text, ensure_ascii=False).encode()),
)
SOME = [
    Result(line, line != 2, Usage(9, 1, line), 0.25, b'{"a":"%d,{[\\n"}' % line)
    for line in range(1, 4)
]
DATA = pack(SOME).data


@given(st.lists(results, max_size=6))
def test_results_come_back_as_they_were_packed(packed):
    data, digest = pack(packed)
    assert unpack(data, "key", digest) == packed
    assert read_header(data).sha256 == digest


@given(st.lists(results, max_size=4))
def test_a_checkpoint_is_lines_of_json(packed):
    head, *lines = pack(packed).data.splitlines()
    assert json.loads(head)["results"] == len(lines) == len(packed)
    for line, result in zip(lines, packed, strict=True):
        assert json.loads(line)[0] == result.line
        assert json.loads(line)[-1] == json.loads(result.text)


@pytest.mark.parametrize("end", range(len(DATA)))
def test_a_checkpoint_truncated_at_any_byte_is_corrupt(end):
    with pytest.raises(CorruptObjectError, match="the/key"):
        unpack(DATA[:end], "the/key")


def test_a_checkpoint_altered_at_any_byte_gives_no_other_results():
    for at in range(len(DATA)):
        altered = DATA[:at] + bytes([DATA[at] ^ 0x04]) + DATA[at + 1 :]
        try:
            assert unpack(altered, "key") == SOME
        except (CorruptObjectError, NewerFormatError):
            continue


@pytest.mark.parametrize("rest", [b"\n", b"{}", b"[4,1,9,1,4,0.25,{}]\n"])
def test_a_checkpoint_with_trailing_data_is_corrupt(rest):
    with pytest.raises(CorruptObjectError):
        unpack(DATA + rest, "key")


def test_another_checkpoint_than_the_committed_one_is_corrupt():
    other = pack(SOME[:2])
    with pytest.raises(CorruptObjectError):
        unpack(DATA, "key", other.sha256)


@pytest.mark.parametrize("data", [b"", b"\n", b"{}", b"\xff\n", b"[]\n", b"null\n"])
def test_other_data_is_a_corrupt_checkpoint(data):
    with pytest.raises(CorruptObjectError):
        unpack(data, "key")


def test_counts_usage_and_seconds_are_summed():
    assert tally(SOME) == (Counts(3, 2, 1), Usage(27, 3, 6), 0.75)
    assert tally([]) == (Counts(), Usage(), 0.0)
