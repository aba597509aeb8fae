"""The Parquet of a batch opens, as it is, in what people read Parquet with."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchchat.jobs.engine.protocol import Choice
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.results.parquet import write_parquet
from tests.support import duckdb_query
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
    return [{name: as_lists(value) for name, value in row.items()} for row in rows]


def as_lists(value: Any) -> Any:
    """Return arrays of NumPy as lists."""
    if isinstance(value, dict):
        return {name: as_lists(inner) for name, inner in value.items()}
    return [as_lists(inner) for inner in value] if hasattr(value, "tolist") else value


def read_polars(file: Path, _cache: Path) -> list[dict[str, Any]]:
    """Read as polars does."""
    import polars as pl

    return pl.read_parquet(file).to_dicts()


def read_duckdb(file: Path, _cache: Path) -> list[dict[str, Any]]:
    """Read as DuckDB does."""
    return duckdb_query.query("SELECT * FROM read_parquet(?)", file)


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


def present(message: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a message that are not null."""
    return {name: value for name, value in message.items() if value is not None}


def as_objects(value: Any) -> Any:
    """Return JSON columns as objects, which only `datasets` does by itself."""
    if isinstance(value, str) and value[:1] in {"{", "["}:
        return json.loads(value)
    if isinstance(value, dict):
        return {name: as_objects(inner) for name, inner in present(value).items()}
    return [as_objects(one) for one in value] if isinstance(value, list) else value


def refusing_bad(request):
    if request.custom_id == "bad":
        return RequestRefusedError("no room", code="context_length_exceeded")
    return completion("re")


def test_every_column_is_read_with_its_type_and_value(tmp_path, read):
    hand = Hand()
    data = whole("good", TURNS[0]["content"]) + b"\n" + whole("bad", "x")
    good, bad = read(write(tmp_path, hand, hand.ended(data, refusing_bad)))
    assert [present(message) for message in good["messages"]] == TURNS
    assert (good["custom_id"], good["line"], good["status"]) == ("good", 1, "completed")
    assert good["estimated_cost"] == COST
    assert isinstance(good["estimated_cost"], Decimal)
    assert (good["n_choices"], good["total_tokens"], good["seed"]) == (1, 8, 7)
    assert good["response"].startswith('{"status_code":200,')
    assert (bad["status"], bad["error_code"]) == ("failed", "context_length_exceeded")
    assert [bad[name] for name in ("messages", "content", "seed")] == [None] * 3


def test_tools_choices_and_metadata_are_read(tmp_path, read):
    hand = Hand()
    function = {"name": "look", "arguments": {"at": [1, {"b": "c"}]}}
    called = {"id": "call_1", "type": "function", "function": function}
    text = json.dumps(function["arguments"])
    sent = called | {"function": function | {"arguments": text}}
    asked = [
        {"role": "user", "content": "where?", "name": "ada"},
        {"role": "assistant", "tool_calls": [sent]},
        {"role": "tool", "content": "there", "tool_call_id": "call_1"},
    ]
    schema = {"type": "object", "properties": {"at": {"type": "array"}}}
    tools = [{"type": "function", "function": {"name": "look", "parameters": schema}}]
    fields = {"messages": asked, "tools": tools, "metadata": {"set": "dev"}}
    answer = completion("one", "two")
    answer.choices[0] = Choice(
        index=0, text=None, reasoning="r", tool_calls=[sent], finish_reason="tool_calls"
    )
    data = whole("a", "", **fields) + b"\n" + whole("b", "x")
    state = hand.ended(
        data, lambda request: answer if request.line == 1 else completion("re")
    )
    row, plain = map(as_objects, read(write(tmp_path, hand, state)))
    again = {"role": "assistant", "reasoning_content": "r", "tool_calls": [called]}
    assert row["messages"] == [
        asked[0],
        {"role": "assistant", "tool_calls": [called]},
        asked[2],
        again,
    ]
    assert (row["tools"], row["metadata"]) == (tools, {"set": "dev"})
    assert [choice.get("content") for choice in row["choices"]] == [None, "two"]
    assert row["choices"][0]["tool_calls"] == [called]
    assert {"tools", "metadata"}.isdisjoint(plain)
    [choice] = plain["choices"]
    assert choice == {"index": 0, "content": "re", "finish_reason": "stop", "seed": 7}


def test_failed_rows_can_be_left_out(tmp_path):
    import datasets
    import pandas as pd
    import polars as pl

    hand = Hand()
    data = whole("good", "x") + b"\n" + whole("bad", "x")
    file = write(tmp_path, hand, hand.ended(data, refusing_bad))
    query = "SELECT custom_id FROM read_parquet(?) WHERE status = 'completed'"
    loaded = datasets.load_dataset(
        "parquet", data_files=str(file), cache_dir=str(tmp_path), split="train"
    )
    for kept in (
        pd.read_parquet(file).query("status == 'completed'")["custom_id"].tolist(),
        pl.scan_parquet(file)
        .filter(pl.col("status") == "completed")
        .collect()["custom_id"]
        .to_list(),
        [row["custom_id"] for row in duckdb_query.query(query, file)],
        list(loaded.filter(lambda row: row["status"] == "completed")["custom_id"]),
    ):
        assert kept == ["good"]


def test_a_file_without_answers_is_read_with_all_columns(tmp_path, read):
    hand = Hand()
    batch_id = hand.submit(whole("a", "x"))
    [row] = read(write(tmp_path, hand, hand.finalize(batch_id, "expired")))
    assert row["error_code"] == "batch_expired"
    assert row["messages"] is row["estimated_cost"] is row["n_choices"] is None


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"datasets"}))
def test_a_file_without_rows_is_read(tmp_path, name):
    """Not `datasets`: it can't open any file without rows."""
    hand = Hand()
    batch_id = hand.submit(whole("a", "x"), plan=False)
    file = write(tmp_path, hand, hand.finalize(batch_id, "cancelled"))
    assert READERS[name](file, tmp_path) == []
