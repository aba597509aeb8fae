"""The Parquet of a batch opens, as it is, in what people read Parquet with."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.results.parquet import write_parquet
from tests.support.ended import Hand, completion, whole

COST = Decimal("0.000000650003")
TURNS = [
    {"role": "user", "content": "zwei \U0001f600 \x00"},
    {"role": "assistant", "content": "re"},
]


def read_pyarrow(file: Path, _cache: Path) -> list[dict[str, Any]]:
    """Read as pyarrow does."""
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    return rows


def read_pandas(file: Path, _cache: Path) -> list[dict[str, Any]]:
    """Read as pandas does; its missing values become None."""
    import pandas as pd

    frame = pd.read_parquet(file).astype(object)
    rows = frame.where(frame.notna(), None).to_dict("records")
    return [
        row | {"messages": None if row["messages"] is None else list(row["messages"])}
        for row in rows
    ]


def read_polars(file: Path, _cache: Path) -> list[dict[str, Any]]:
    """Read as polars does."""
    import polars as pl

    return pl.read_parquet(file).to_dicts()


def read_duckdb(file: Path, _cache: Path) -> list[dict[str, Any]]:
    """Read as DuckDB does."""
    import duckdb

    found = duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(file)])
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def read_datasets(file: Path, cache: Path) -> list[dict[str, Any]]:
    """Read as Hugging Face datasets does, with no network."""
    import datasets

    loaded = datasets.load_dataset(
        "parquet", data_files=str(file), cache_dir=str(cache), split="train"
    )
    return list(loaded)


READERS: dict[str, Callable[[Path, Path], list[dict[str, Any]]]] = {
    "pyarrow": read_pyarrow,
    "pandas": read_pandas,
    "polars": read_polars,
    "duckdb": read_duckdb,
    "datasets": read_datasets,
}


@pytest.fixture(params=READERS)
def read(request, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return lambda file: READERS[request.param](file, tmp_path / "cache")


def write(folder, hand, state):
    file = folder / "results.parquet"
    with file.open("wb") as sink:
        write_parquet(hand.ledger, state, sink)
    return file


def refusing_bad(request):
    if request.custom_id == "bad":
        return RequestRefusedError("no room", code="context_length_exceeded")
    return completion("re")


def test_every_column_is_read_with_its_type_and_value(tmp_path, read):
    hand = Hand()
    data = whole("good", TURNS[0]["content"]) + b"\n" + whole("bad", "x")
    good, bad = read(write(tmp_path, hand, hand.ended(data, refusing_bad)))
    assert good["messages"] == TURNS
    assert (good["custom_id"], good["line"], good["status"]) == ("good", 1, "completed")
    assert good["estimated_cost"] == COST
    assert isinstance(good["estimated_cost"], Decimal)
    assert (good["n_choices"], good["total_tokens"], good["seed"]) == (1, 8, 7)
    assert good["response"].startswith('{"status_code":200,')
    assert (bad["status"], bad["error_code"]) == ("failed", "context_length_exceeded")
    assert [bad[name] for name in ("messages", "content", "seed")] == [None] * 3


def test_a_file_without_one_answer_is_read_with_all_columns(tmp_path, read):
    hand = Hand()
    batch_id = hand.submit(whole("a", "x"))
    [row] = read(write(tmp_path, hand, hand.finalize(batch_id, "expired")))
    assert row["error_code"] == "batch_expired"
    assert row["messages"] is row["estimated_cost"] is row["n_choices"] is None


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"datasets"}))
def test_a_file_without_one_row_is_read(tmp_path, name):
    """`datasets` is left out: it opens no file without rows, whoever wrote it."""
    hand = Hand()
    batch_id = hand.submit(whole("a", "x"), plan=False)
    file = write(tmp_path, hand, hand.finalize(batch_id, "cancelled"))
    assert READERS[name](file, tmp_path) == []
