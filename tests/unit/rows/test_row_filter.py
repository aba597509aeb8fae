"""Conditions, limits and samples select rows, in their order."""

from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.errors import UsageError
from batchchat.jobs.rows.row_filter import RowFilter
from tests.support.row_files import as_arrow, as_lines, opened, rows_of
from tests.unit.rows.test_formats import TYPES

TABLE = pa.table(
    {
        "id": [1, 2, 3, 4],
        "lang": ["en", "de", None, "it's"],
        "score": [0.5, -1.0, 2.5, None],
        "seen": [True, False, None, True],
        "day": [date(2025, 1, d) for d in (1, 2, 3, 4)],
        "at": [datetime(2025, 1, d, 12) for d in (1, 2, 3, 4)],  # noqa: DTZ001
        "zoned": pa.array([1, 2, 3, 4], pa.timestamp("s", "UTC")),
        "price": [Decimal("1.50"), Decimal("2.00"), None, Decimal("9.99")],
        "kind": pa.array(["a", "b", "a", None]).dictionary_encode(),
        "large": pa.array(["a", "b", "a", None], pa.large_string()),
        "view": pa.array(["a", "b", "a", None], pa.string_view()),
        "meta": [{"lang": "en", "n": 1}, {"lang": "de", "n": 2}, None, None],
        "my column": [1, 2, 3, 4],
        "a.b": [1, 2, 3, 4],
        "class": ["x", "y", "x", "y"],
        "tags": [["a"], [], None, ["b"]],
        "Ärger": [1, 2, 3, 4],
        "none_known": pa.nulls(4),
        "json": pa.array(["{}", "1", None, "[]"], pa.json_()),
    }
)
FILE = as_arrow(TABLE, max_chunksize=2)


def selected(data=FILE, **options):
    return rows_of(RowFilter(**options).apply(opened(data)))


def ids(where):
    return [row["id"] for row in selected(where=where)]


CONDITIONS = {
    "lang = 'en'": [1],
    "lang == 'en'": [1],
    'lang == "en"': [1],
    "lang != 'en'": [2, 4],
    "lang <> 'en'": [2, 4],
    "NOT lang = 'en'": [2, 4],
    "lang = 'it''s'": [4],
    "lang is null": [3],
    "lang IS NOT NULL": [1, 2, 4],
    "lang is None or lang == 'de'": [2, 3],
    "lang in ('en', 'de')": [1, 2],
    "lang in ['en', 'de']": [1, 2],
    "lang in ('en')": [1],
    "lang not in ('en', 'de')": [4],
    "score > 0": [1, 3],
    "score >= -1 and score < 2.5": [1, 2],
    "-1 <= score < 2.5": [1, 2],
    "score = -1.0e0": [2],
    "0 < score": [1, 3],
    "id > 1 and (score < 0 or score is null)": [2, 4],
    "id > 1 and not (score < 0)": [3],
    "id = 1 or id = 2 and lang = 'xx'": [1],
    "id = 007": [],
    "id = 2.0": [2],
    "id < score": [],
    "seen": [1, 4],
    "not seen": [2],
    "seen = true": [1, 4],
    "seen == False": [2],
    "true": [1, 2, 3, 4],
    "day > '2025-01-02'": [3, 4],
    "at > '2025-01-02'": [2, 3, 4],
    "at <= '2025-01-02T12:00:00'": [1, 2],
    "zoned >= '1970-01-01T00:00:02Z'": [2, 3, 4],
    "price > 1.5": [2, 4],
    "price = 2": [2],
    "kind = 'a'": [1, 3],
    "kind in ('a', 'b')": [1, 2, 3],
    "large = 'a'": [1, 3],
    "view = 'a'": [1, 3],
    "meta.lang = 'de'": [2],
    "meta.n < 2": [1],
    "meta is null": [3, 4],
    "`my column` > 3": [4],
    "a.b > 3": [4],
    "class = 'x'": [1, 3],
    "tags is not null": [1, 2, 4],
    "Ärger = 1": [1],
    "none_known is null": [1, 2, 3, 4],
    "none_known = 'a'": [],
    "json is null": [3],
    "lang='en'or id=2": [1, 2],
}


@pytest.mark.parametrize(("where", "expected"), CONDITIONS.items(), ids=CONDITIONS)
def test_a_condition_selects_rows(where, expected):
    assert ids(where) == expected


INVALID = {
    "": "1 to",
    " ": "1 to",
    "lang =": "incomplete",
    "lang = 'en": "`'en` is not understood",
    "(lang = 'en'": "incomplete",
    "lang = 'en')": "incomplete",
    "lang like 'e%'": "incomplete",
    "lang = 'en'; drop": "`; drop` is not understood",
    "length(lang) > 2": "has a function",
    "lang + 'x' = 'en'": "`+ 'x' = 'en'` is not understood",
    "lang = null": "use `is null`",
    "lang is 'en'": "`is` is followed by",
    "1 = 1": "needs a column",
    "'en'": "neither true nor false",
    "1": "neither true nor false",
    "lang": "column `lang` has the type `string` and is neither true",
    "1 in (id)": "needs a column",
    "lang > 5": "column `lang` has the type `string` and can't be compared with `5`",
    "score = 'x'": "column `score` has the type `double` and can't be compared with",
    "seen = 1": "column `seen`",
    "id = true": "column `id`",
    "id in (1, 'a')": "column `id`",
    "day = 'monday'": "no such time",
    "tags = 'a'": "can't be compared",
    "json = '{}'": "can't be compared",
    "meta = 'a'": "can't be compared",
    "lang = id": "types don't fit",
    "(" * 5_000 + "id" + ")" * 5_000: "1 to",
    "(" * 2_000 + "seen" + ")" * 2_000: "is invalid",
    "not " * 2_000 + "seen": "nested too deeply",
}


@pytest.mark.parametrize(("where", "words"), INVALID.items(), ids=range(len(INVALID)))
def test_an_invalid_condition_is_an_error_with_a_hint(where, words):
    with pytest.raises(UsageError) as caught:
        selected(where=where)
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "meant"), [("langg", "lang"), ("LANG", "lang"), ("scor", "score")]
)
def test_an_unknown_column_is_an_error_with_the_columns(name, meant):
    with pytest.raises(UsageError, match=f"no column `{name}`") as caught:
        selected(where=f"{name} = 'x'")
    assert f"did you mean `{meant}`?" in str(caught.value.hint)
    assert "`id`, `lang`, `score`, `seen`" in str(caught.value.hint)


@pytest.mark.parametrize("name", TYPES)
def test_rows_with_columns_of_each_type_can_be_selected(name):
    table = pa.table({"n": [1, 2], "x": TYPES[name]})
    reader = RowFilter(where="n = 2", sample=1, limit=1).apply(opened(as_arrow(table)))
    found = pa.Table.from_batches(list(reader.batches()), reader.schema)
    assert found.to_pylist() == table.slice(1, 1).to_pylist()


NUMBERED = as_lines([{"n": n} for n in range(5_000)])


@given(st.integers(1, 6_000), st.integers(1, 6_000), st.booleans())
def test_a_sample_has_its_size_and_the_order_of_the_rows(sample, limit, where):
    rows = selected(
        NUMBERED, sample=sample, limit=limit, where="n >= 1000" if where else None
    )
    numbers = [row["n"] for row in rows]
    assert len(numbers) == min(sample, limit, 4_000 if where else 5_000)
    assert numbers == sorted(set(numbers))
    assert not where or numbers[0] >= 1_000


def test_a_sample_is_random_and_the_same_each_time():
    reader = RowFilter(sample=1_000).apply(opened(NUMBERED))
    numbers = [row["n"] for row in rows_of(reader)]
    assert numbers == [row["n"] for row in rows_of(reader)]
    assert numbers == [row["n"] for row in selected(NUMBERED, sample=1_000)]
    for start in range(0, 5_000, 500):
        assert 60 < sum(start <= n < start + 500 for n in numbers) < 140


def test_added_rows_change_little_of_a_sample():
    before = {row["n"] for row in selected(NUMBERED, sample=1_000)}
    longer = as_lines([{"n": n} for n in range(5_500)])
    after = {row["n"] for row in selected(longer, sample=1_000)}
    assert len(before & after) > 850


@pytest.mark.parametrize("options", [{"limit": 0}, {"sample": -1}])
def test_a_limit_or_sample_below_one_is_an_error(options):
    with pytest.raises(UsageError, match=r"limit|sample"):
        selected(**options)
