"""Options are parsed exactly, and numbers are printed for people."""

from decimal import Decimal

import pytest
import typer

from batchchat.cli.backends.report import ignored_note
from batchchat.cli.main import app
from batchchat.cli.terminal.format import count, duration, short, size
from batchchat.cli.terminal.options import (
    Format,
    output_format,
    parse_completion_window,
    parse_dollars,
    parse_metadata,
)


@pytest.mark.parametrize("text", ["0.1", "2.50", "1000000000", "0.000001"])
def test_dollars_are_exact(text):
    assert parse_dollars(text) == Decimal(text)


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "inf", "1e10", "1e-7"])
def test_other_amounts_are_an_error(text):
    with pytest.raises(typer.BadParameter, match="amount of dollars"):
        parse_dollars(text)


def test_metadata_is_a_dictionary():
    assert parse_metadata(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    assert parse_metadata(None) is None


@pytest.mark.parametrize(
    "pairs",
    [
        ["a"],
        ["=1"],
        [f"{'k' * 65}=1"],
        [f"k={'v' * 513}"],
        [f"{n}=" for n in range(17)],
    ],
)
def test_metadata_beyond_openais_limits_is_an_error(pairs):
    with pytest.raises(typer.BadParameter):
        parse_metadata(pairs)


def test_each_command_has_a_short_summary():
    for command in app.registered_commands:
        summary = str(command.help).partition("\n")[0]
        assert summary.endswith(".")
        assert len(summary) <= 66, f"the list of commands would cut off: {summary}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (count(1, "line"), "1 line"),
        (count(1_200, "line"), "1,200 lines"),
        (count(3, "batch"), "3 batches"),
        (duration(0.84), "0.8s"),
        (duration(100), "1m 40s"),
        (duration(11_100), "3h 5m"),
        (short(950), "950"),
        (short(12_345), "12.3k"),
        (size(12), "12 bytes"),
        (size(3_400_000), "3.4 MB"),
        (ignored_note({}), None),
        (
            ignored_note({"user": 1, "stream": 2}),
            "fields without effect: `stream` (2 requests), `user` (1 request)",
        ),
    ],
)
def test_numbers_are_readable(text, expected):
    assert text == expected


@pytest.mark.parametrize("text", ["1h", "90m", "24h", "1d12h", "30d"])
def test_a_completion_window_is_kept_as_it_was_typed(text):
    assert parse_completion_window(text) == text


@pytest.mark.parametrize("text", ["", "59m", "31d", "24", "1 h", "-1d", "9" * 99])
def test_a_completion_window_outside_the_range_names_the_range(text):
    with pytest.raises(typer.BadParameter, match="from 1h to 30d"):
        parse_completion_window(text)


@pytest.mark.parametrize(
    ("output", "chosen", "expected"),
    [
        ("x.parquet", None, "parquet"),
        ("X.PARQUET", None, "parquet"),
        ("x.parquet", Format.BOTH, "both"),
        ("x.jsonl", None, "jsonl"),
        ("-", None, "jsonl"),
        (None, None, "jsonl"),
    ],
)
def test_the_name_of_the_output_implies_the_format(output, chosen, expected):
    assert output_format(output, chosen) == expected
