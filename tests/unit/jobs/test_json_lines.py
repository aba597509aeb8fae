"""JSON that leaves the program is one line for every reader."""

import json
import sys
from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from batchchat.jobs.json_lines import encode, escape_line_breaks

BREAKS = "".join(
    char
    for char in map(chr, range(sys.maxunicode))
    if len(f"a{char}b".splitlines()) > 1
)
texts = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(BREAKS))
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), texts),
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(values)
@example(BREAKS)
@example({BREAKS: [f"\\{BREAKS}", f'"{BREAKS}"', "\\u2028"]})
def test_encoded_json_is_one_line_and_keeps_its_value(value):
    text = encode(value)
    assert len(text.decode().splitlines()) == 1
    assert json.loads(text) == value


@given(st.lists(values, max_size=5))
@example([BREAKS, BREAKS])
def test_escaping_keeps_the_lines_and_values_of_stored_json(stored):
    data = b"".join(
        json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in stored
    )
    lines = escape_line_breaks(data).decode().splitlines()
    assert [json.loads(line) for line in lines] == stored


def test_text_that_only_resembles_a_line_break_is_kept():
    text = '"\u2027\u202a\u0084\u0086 \u00e2 \u2018quoted\u2019 \u4e00"'.encode()
    assert escape_line_breaks(text) == text


def test_decimals_are_exact_numbers():
    assert encode(Decimal("0.10")) == b"0.10"
