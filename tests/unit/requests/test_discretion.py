"""Problem messages never quote what the user wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.requests.parameters import PARAMETERS
from tests.support.input_lines import MESSAGES, parse_invalid, with_body, with_message


@given(
    st.sampled_from(sorted(PARAMETERS)),
    st.sampled_from(["SECRET", ["SECRET"], {"SECRET-KEY": 1}, 10**20, True, [{}]]),
    st.sampled_from([{"role": "x"}, {"content": ["PROMPT"]}, {"name": 5}, {}]),
)
def test_problems_name_fields_and_quote_no_text(name, value, fields):
    message = {"role": "user", "content": "PROMPT \ud800"} | fields
    raw = with_body(messages=[message, MESSAGES[0]], **{name: value})
    problems = parse_invalid(raw).problems
    assert "PROMPT" not in str(problems)
    assert "SECRET" not in str([problem.message for problem in problems])


@pytest.mark.parametrize("cut", range(0, 160, 7))
def test_problems_of_a_damaged_line_quote_no_text(cut):
    raw = with_message(content="SECRET" * 20)[:cut]
    assert "SECRET" not in str(parse_invalid(raw).problems)
