"""Columns of text files are as wide as their values, wherever those appear."""

import io
import json

import pyarrow as pa
import pytest

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.rows.row_reader import open_rows
from tests.support.row_files import as_lines, as_parquet, opened, read, rows_of

LATE = [
    ([1, "x"], ["1", "x"], "string"),
    ([1, 0.5], [1.0, 0.5], "double"),
    ([2**60, 0.5], [str(2**60), "0.5"], "string"),
    ([1, 2**63], ["1", str(2**63)], "string"),
    ([True, 1], ["true", "1"], "string"),
    ([None, 1], [None, 1], "int64"),
    ([1.5, "x"], ["1.5", "x"], "string"),
    ([[1], ["x"]], [["1"], ["x"]], "list<item: string>"),
    ([[], ["x"]], [[], ["x"]], "list<item: string>"),
    ([{"a": 1}, {"a": "x"}], [{"a": "1"}, {"a": "x"}], "struct<a: string>"),
    ([{"a": 1}, {"b": 1}], ['{"a":1}', '{"b":1}'], "extension<arrow.json>"),
    ([{"a": {}}, {"a": {}}], ['{"a":{}}', '{"a":{}}'], "extension<arrow.json>"),
    ([[{"a": 1}], [{"b": 1}]], ['[{"a":1}]', '[{"b":1}]'], "extension<arrow.json>"),
    (["x", {"a": 1}], ['"x"', '{"a":1}'], "extension<arrow.json>"),
    ([[1], 1], ["[1]", "1"], "extension<arrow.json>"),
]


@pytest.mark.parametrize(("values", "expected", "kind"), LATE)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_column_is_widened_when_its_type_changes_late(
    values, expected, kind, reverse
):
    pairs = list(zip(values, expected, strict=True))[:: -1 if reverse else 1]
    rows = [{"x": pairs[0][0]}] * 3_000 + [{"x": pairs[1][0]}]
    for data in (as_lines(rows), json.dumps(rows).encode()):
        reader = opened(data)
        assert str(reader.schema.field("x").type) == kind
        read_rows = rows_of(reader)
        assert read_rows[0] == {"x": pairs[0][1]}
        assert read_rows[-1] == {"x": pairs[1][1]}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "x"], ["1", "x"]),
        (["1", "0.50"], [1.0, 0.5]),
        (["1", ""], [1, None]),
        (["1", "007"], ["1", "007"]),
        (["1", "true"], ["1", "true"]),
        (["1", "1" * 30], ["1", "1" * 30]),
        (["1" * 18, "0.5"], ["1" * 18, "0.5"]),
        (["a", ""], ["a", ""]),
        (["2024-01-01", "2024-01-02"], ["2024-01-01", "2024-01-02"]),
        (["1", "NaN"], ["1", "NaN"]),
    ],
)
def test_a_column_of_csv_is_widened_when_its_type_changes_late(values, expected):
    first, last = values
    data = "x,y\n" + f"{first},\n" * 9_000 + f"{last},\n"
    rows = read(data.encode(), "rows.csv")
    assert (rows[0]["x"], rows[-1]["x"]) == tuple(expected)
    assert rows[0]["y"] == ""


def test_keys_that_some_rows_lack_are_null():
    assert read(b'{"a": 1}\n\n{"b": "x"}\n') == [
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
    ]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"sep=;\r\na;b\r\n1;2\r\n", [{"a": 1, "b": 2}]),
        (b"a,b\r1,2\r", [{"a": 1, "b": 2}]),
        (b"\n\na,b\n\n1,2\n\n", [{"a": 1, "b": 2}]),
        (b",q\n0,hi\n", [{"column_1": 0, "q": "hi"}]),
        (b"text\nhello\n", [{"text": "hello"}]),
        (b"\xef\xbb\xbfid;text\n1;a, b, c\n2;d, e, f\n", None),
        ("id;text\n1;a\u2028b\n".encode(), [{"id": 1, "text": "a\u2028b"}]),
        (b"id,text\n1,a\0b\n", [{"id": 1, "text": "a\0b"}]),
        (b'id,text\n1,"' + b"x" * 300_000 + b'"\n', [{"id": 1, "text": "x" * 300_000}]),
    ],
)
def test_variants_of_csv_are_read(data, rows):
    found = read(data, "rows.csv")
    assert found == (rows or found)
    assert list(found[0])[:1] == list((rows or [{"id": 1}])[0])[:1]


def test_a_table_without_rows_has_its_columns():
    assert read(b"a,b\n", "rows.csv") == []
    assert read(as_parquet(pa.table({"a": [1]}).slice(0, 0))) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"a": 1}\n', b'{"a": "x"}\n'),
        (b'{"a": [1]}\n', b'{"a": 100}\n'),
        (b'{"a": {"b": 1}}\n', b'{"a": {"b": "c"}}\n'),
        (b"a,b\n1,2\n", b"a,b\n1,x\n"),
    ],
)
def test_a_file_that_changes_while_it_is_read_is_an_error(before, after):
    file = io.BytesIO(before)
    reader = open_rows(file, "rows.csv")
    assert len(rows_of(reader)) == 1
    file.seek(0)
    file.write(after)
    with pytest.raises(InputFileError, match="changed while it was read"):
        rows_of(reader)
