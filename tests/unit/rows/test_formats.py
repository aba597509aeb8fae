"""Each format of rows gives the rows that were written, compressed or not."""

import json
from contextlib import contextmanager
from decimal import Decimal
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.rows import csv_rows, json_rows, parquet_rows, text_file
from tests.support.row_files import (
    COMPRESSIONS,
    as_arrow,
    as_csv,
    as_feather,
    as_lines,
    as_parquet,
    opened,
    read,
    rows_of,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
CELLS = TEXT | st.text(alphabet='",;\n\r\t|\\ a0.', max_size=12)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(-(2**63), 2**63 - 1),
            "text": CELLS,
            "score": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "right": st.booleans() | st.none(),
            "tags": st.lists(TEXT, max_size=2),
            "meta": st.fixed_dictionaries({"lang": TEXT | st.none(), "n": st.none()}),
        }
    ),
    min_size=1,
    max_size=8,
)
SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "text": pa.string(),
        "score": pa.float64(),
        "right": pa.bool_(),
        "tags": pa.list_(pa.string()),
        "meta": pa.struct({"lang": pa.string(), "n": pa.null()}),
    }
)


def table_of(rows):
    return pa.Table.from_pylist(rows, SCHEMA)


FORMATS = {
    "JSON lines": as_lines,
    "JSON lines without line feed": lambda rows: as_lines(rows)[:-1],
    "JSON lines in UTF-16": lambda rows: as_lines(rows).decode().encode("utf-16"),
    "JSON array": lambda rows: json.dumps(rows).encode(),
    "JSON array in UTF-8": lambda rows: json.dumps(rows, ensure_ascii=False).encode(),
    "pretty-printed JSON": lambda rows: json.dumps(rows, indent=1).encode(),
    "JSON values": lambda rows: "\n".join(
        json.dumps(row, indent=2) for row in rows
    ).encode(),
    "JSON with commas": lambda rows: as_lines(rows).replace(b"\n", b",\r\n"),
    "Parquet": lambda rows: as_parquet(table_of(rows), row_group_size=3),
    "Arrow file": lambda rows: as_arrow(table_of(rows), max_chunksize=3),
    "Arrow stream": lambda rows: as_arrow(table_of(rows), pa.ipc.new_stream),
    "Feather": lambda rows: as_feather(table_of(rows)),
}


BLOCKS = st.sampled_from([1, 7, 4096])
PACK = st.sampled_from(list(COMPRESSIONS.values()))


@contextmanager
def blocks_of(size):
    with (
        mock.patch.object(text_file, "_BLOCK_BYTES", size),
        mock.patch.object(json_rows, "_BATCH_ROWS", 3),
        mock.patch.object(csv_rows, "_BATCH_ROWS", 3),
    ):
        yield


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
@settings(max_examples=40)
@given(rows=ROWS, pack=PACK, size=BLOCKS)
def test_rows_are_read_as_they_were_written(write, pack, size, rows):
    with blocks_of(size):
        reader = opened(pack(write(rows)))
        assert rows_of(reader) == rows_of(reader) == rows


DELIMITERS = {"CSV": ",", "CSV with semicolons": ";", "TSV": "\t", "pipes": "|"}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"]
FIELDS = CELLS.filter(lambda text: "\0" not in text)
RECORDS = st.lists(st.fixed_dictionaries({"a": FIELDS, "b": FIELDS}), max_size=8)


@pytest.mark.parametrize("delimiter", DELIMITERS.values(), ids=DELIMITERS)
@settings(max_examples=40)
@given(rows=RECORDS, pack=PACK, size=BLOCKS, encoding=st.sampled_from(ENCODINGS))
def test_records_are_read_as_they_were_written(delimiter, pack, size, rows, encoding):
    rows = [{"a": "is it?", "b": "yes"}, *rows]
    with blocks_of(size):
        reader = opened(pack(as_csv(rows, delimiter, encoding)), "rows.csv")
        assert rows_of(reader) == rows_of(reader) == rows


NUMBERS = st.integers(-(10**18) + 1, 10**18 - 1) | st.none()


@given(st.lists(st.tuples(NUMBERS, st.floats(-1e9, 1e9), st.booleans()), min_size=1))
def test_the_columns_of_csv_are_typed(values):
    rows = [{"n": n, "x": x, "yes": yes} for n, x, yes in [(1, 0.5, True), *values]]
    assert read(as_csv(rows), "rows.csv") == rows


TYPES = {
    "nested": pa.array([{"a": [{"b": 1}], "c": {"d": None}}, None]),
    "null": pa.nulls(2),
    "decimal": pa.array([Decimal("1.50"), None], pa.decimal128(38, 18)),
    "decimal256": pa.array([Decimal("1.50"), None], pa.decimal256(50, 2)),
    "timestamp": pa.array([1, None], pa.timestamp("us", "Europe/Berlin")),
    "date": pa.array([1, None], pa.date32()),
    "large_string": pa.array(["ä", None], pa.large_string()),
    "string_view": pa.array(["ä", None], pa.string_view()),
    "list of views": pa.array([["ä"], None], pa.list_(pa.string_view())),
    "struct of views": pa.array(
        [{"a": b"\xff"}, None], pa.struct({"a": pa.binary_view()})
    ),
    "fixed_list": pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
    "binary": pa.array([b"\xff", None]),
    "dictionary": pa.array(["a", "a"]).dictionary_encode(),
    "large_list": pa.array([[1], None], pa.large_list(pa.int8())),
    "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    "json": pa.array(['{"a": 1}', None], pa.json_()),
    "half": pa.array([0.5, None], pa.float16()),
}


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("write", [as_parquet, as_arrow])
def test_columns_of_each_type_are_read(write, name):
    table = pa.table({"x": TYPES[name]})
    reader = opened(write(table))
    found = pa.Table.from_batches(list(reader.batches()), reader.schema)
    assert found.to_pylist() == table.to_pylist()
    assert "view" in name or found.schema == table.schema


def test_a_text_that_parquet_stores_once_is_decoded_for_a_few_rows_at_a_time():
    table = pa.table({"text": ["x" * 100_000] * 512, "n": list(range(512))})
    data = as_parquet(table)
    assert len(data) < 10_000
    batches = list(opened(data).batches())
    assert max(batch.nbytes for batch in batches) < 65 * 100_000
    assert pa.Table.from_batches(batches)["n"].to_pylist() == list(range(512))


def test_short_rows_of_parquet_are_read_in_large_batches():
    table = pa.table({"n": list(range(20_000))})
    batches = list(opened(as_parquet(table)).batches())
    assert [batch.num_rows for batch in batches] == [8_192, 8_192, 3_616]


def test_dictionaries_within_lists_are_read(monkeypatch):
    monkeypatch.setattr(parquet_rows, "_READ_ROWS", 2)
    kind = pa.list_(pa.dictionary(pa.int32(), pa.string()))
    values = [[str(number)] for number in range(7)]
    reader = opened(as_parquet(pa.table({"x": pa.array(values, kind)})))
    assert [row["x"] for row in rows_of(reader)] == values


def test_a_table_of_too_many_columns_is_rejected():
    table = pa.table({f"c{number}": [1] for number in range(10_001)})
    with pytest.raises(InputFileError, match="10,001 columns, and 10,000 are allowed"):
        opened(as_parquet(table))


def test_keys_that_most_rows_lack_are_null_there():
    rows: list[dict[str, object]] = [
        {"n": number, f"k{number % 7}": number} for number in range(20)
    ]
    rows.append({"n": 20, "json": {"a": 1}})
    rows.append({"n": 21, "json": "text"})
    with mock.patch.object(json_rows, "_BATCH_ROWS", 3):
        found = rows_of(opened(as_lines(rows)))
    names = ["n", *(f"k{number}" for number in range(7)), "json"]
    assert [list(row) for row in found] == [names] * 22
    kept = [{k: v for k, v in row.items() if v is not None} for row in found]
    assert kept[:20] == rows[:20]
    assert [row["json"] for row in kept[20:]] == ['{"a":1}', '"text"']
