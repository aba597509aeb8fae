"""Long lines are broken at the width of the terminal, and never within a command."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from batchchat.cli.terminal.wrapping import line_breaks


def wrapped(text, width, indent=0):
    breaks = line_breaks(text, width, indent)
    return "".join(breaks.get(at, it) for at, it in enumerate(text)).split("\n")


def test_short_line_is_not_broken():
    assert wrapped("a short line", 12) == ["a short line"]


def test_later_lines_are_indented():
    assert wrapped("hint: one two three", 10, 6) == [
        "hint: one",
        "      two",
        "      three",
    ]


def test_command_is_not_broken():
    text = "continue with `batchchat resume batch_1 --extend 24h`, or wait"
    assert wrapped(text, 40) == [
        "continue with",
        "`batchchat resume batch_1 --extend 24h`,",
        "or wait",
    ]


def test_single_backtick_is_a_character():
    assert wrapped("a ` is a quote", 6) == ["a ` is", "a", "quote"]


def test_wide_characters_take_two_cells():
    assert wrapped("日本 語語", 6) == ["日本", "語語"]


def test_columns_are_broken_without_spaces_at_the_end():
    assert wrapped("  name      a long value", 12, 4) == [
        "  name",
        "    a long",
        "    value",
    ]


@pytest.mark.parametrize("indent", [0, 6])
@given(
    text=st.text("ab `é日", max_size=80),
    width=st.integers(10, 30),
)
def test_only_spaces_are_replaced_and_only_words_are_longer(indent, text, width):
    lines = wrapped(text, width, indent)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    for line in lines:
        words = re.sub(r"`[^`]*`", lambda quote: "x" * cell_len(quote[0]), line)
        assert cell_len(line.rstrip()) <= width or " " not in words.strip()
