"""A researcher's workflow: a table in, a table out, on real vLLM with the demo model.

2,000 rows with five columns, a system prompt and three samples: look at requests,
submit them, read first answers, kill the run, resume it, load the result with other
tools, and run it again with added and changed rows.
"""

import json
import signal
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from tests.acceptance.command import Done, Place
from tests.support.duckdb_query import query
from tests.support.table_rows import parquet_of

pytestmark = pytest.mark.engine

ROWS = 2_000
ADDED = 500
CHANGED = range(100, 120)
SAMPLES = 3


def columns(rows: int, changed: range = range(0)) -> dict[str, list[object]]:
    """Return the columns of a table, some of whose questions are others."""
    return {
        "id": [f"question-{number}" for number in range(rows)],
        "question": [
            f"What is {number} {'minus' if number in changed else 'plus'} {number}?"
            for number in range(rows)
        ],
        "topic": [["math", "numbers"]] * rows,
        "difficulty": [number / rows for number in range(rows)],
        "source": [{"book": "A", "page": number} for number in range(rows)],
    }


COLUMNS = columns(ROWS)
PARAMETERS = "max_tokens: 2\n"
WISH = [
    "rows.parquet",
    "--prompt={{ question }}",
    "--system=Answer with a number.",
    "--template=parameters.yaml",
    f"--samples={SAMPLES}",
    "--id-column=id",
    "--model=demo",
]


class Run(NamedTuple):
    """A run that was killed and resumed."""

    place: Place
    batch_id: str
    shown: Done
    first: list[dict[str, object]]
    resumed: Done
    table: Path


@pytest.fixture(scope="module")
def run(make_place):
    place = make_place()
    place.file("rows.parquet", parquet_of(COLUMNS))
    place.file("parameters.yaml", PARAMETERS.encode())
    shown = place.run("submit", *WISH, "--show=3")
    table = place.folder / "answers.parquet"
    running = place.start("submit", *WISH, "-o", table, "--seed=7", engine=True)
    batch_id = running.until(lambda: running.out.read_text().strip())
    running.until(lambda: completed(place, batch_id) > 0)
    head = place.run("results", batch_id, "--head=5")
    running.signal(signal.SIGKILL)
    running.end()
    resumed = place.run("resume", batch_id, engine=True)
    first = [json.loads(line) for line in head.out.splitlines()]
    return Run(place, batch_id, shown, first, resumed, table)


def completed(place: Place, batch_id: str) -> int:
    done = place.run("status", batch_id, "--json")
    counts = done.json()["request_counts"]
    return int(counts["completed"])


def test_requests_are_shown_before_anything_runs(run):
    lines = run.shown.out.decode().splitlines()
    assert [line for line in lines if line.startswith("── ")] == [
        f"{f'── question-0-sample-{sample} · row 1 ':─<80}" for sample in (1, 2, 3)
    ]
    assert lines[1:3] == [
        "system     Answer with a number.",
        "user       What is 0 plus 0?",
    ]


def test_first_answers_are_read_while_the_batch_runs(run):
    assert len(run.first) == 5
    for row in run.first:
        assert row["status"] == "completed"
        assert row["question"]


def test_the_resumed_run_has_every_answer_once_in_the_order_of_the_rows(run):
    assert run.resumed.code == 0, run.resumed.err
    table = pq.read_table(run.table)
    found = table.select(["id", "row", "sample"]).to_pylist()
    assert found == [
        {"id": f"question-{row - 1}", "row": row, "sample": sample}
        for row in range(1, ROWS + 1)
        for sample in range(1, SAMPLES + 1)
    ]
    assert set(table["status"].to_pylist()) == {"completed"}
    assert len(set(table["seed"].to_pylist())) == ROWS * SAMPLES


def test_the_columns_keep_their_types_and_values(run):
    source = pq.read_table(run.place.folder / "rows.parquet")
    table = pq.read_table(run.table)
    for name in COLUMNS:
        assert table.schema.field(name).type == source.schema.field(name).type
        once = table[name].combine_chunks()[::SAMPLES]
        assert once.to_pylist() == source[name].to_pylist()


def test_other_tools_load_the_result(run):
    import polars as pl
    from datasets import load_dataset

    path = str(run.table)
    assert pl.read_parquet(path).height == ROWS * SAMPLES
    counted = query("select count(distinct id) as ids from read_parquet(?)", run.table)
    assert counted == [{"ids": ROWS}]
    cache = str(run.place.folder / "cache")
    rows = load_dataset("parquet", data_files=path, split="train", cache_dir=cache)
    assert rows[0]["source"] == {"book": "A", "page": 0}


def test_a_chat_template_renders_the_messages_for_training(run):
    from transformers import AutoTokenizer

    cache = Path(run.place.environment["BATCHCHAT_MODEL_CACHE"])
    [model] = cache.glob("demo-*")
    tokenizer = AutoTokenizer.from_pretrained(model)
    [row] = pq.read_table(run.table).slice(0, 1).to_pylist()
    messages = [{k: v for k, v in one.items() if v} for one in row["messages"]]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert "What is 0 plus 0?" in text
    assert row["content"] in text


def test_only_added_and_changed_rows_are_computed(run):
    table = columns(ROWS + ADDED, CHANGED)
    rows = run.place.file("more_rows.parquet", parquet_of(table))
    path = run.place.folder / "more_answers.parquet"
    options = ["-o", path, f"--reuse={run.batch_id}", "--json"]
    done = run.place.run("submit", rows, *WISH[1:], *options, engine=True)
    assert done.code == 0, done.err
    batch, found = done.json(), pq.read_table(path)
    computed = {*CHANGED, *range(ROWS, ROWS + ADDED)}
    assert batch["reused_requests"] == (ROWS + ADDED - len(computed)) * SAMPLES
    for row in found.select(["row", "reused_from", "estimated_cost"]).to_pylist():
        is_reused = row["row"] - 1 not in computed
        assert (row["reused_from"] is not None) is is_reused
        assert (row["estimated_cost"] == 0) is is_reused
    assert found["id"].to_pylist()[::SAMPLES] == table["id"]
    before = pq.read_table(run.table)["content"].to_pylist()
    after = found["content"].to_pylist()
    first_change = CHANGED.start * SAMPLES
    assert after[:first_change] == before[:first_change]
