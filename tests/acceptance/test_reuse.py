"""`batchchat submit --reuse`: run only what is new."""

import json

import pytest
from pyarrow import parquet

from tests.acceptance.inputs import few

SIMULATED = {"simulated_tokens_per_second": 1_000}


@pytest.fixture
def submitted(place):
    """A place with a batch that has ended; submits others there."""

    def submit(data, *options):
        file = place.file("in.jsonl", data)
        wish = ("--model", "demo", "--output", "out.jsonl", *options)
        return place.run("submit", file, *wish, settings=SIMULATED)

    assert submit(few(6)).code == 0
    return submit


@pytest.mark.parametrize("name", ["latest", "auto"])
def test_only_new_requests_run(place, submitted, name):
    done = submitted(few(8), "--reuse", name)
    assert done.code == 0, done.err
    assert "reused   6 answers" in done.err
    results = map(json.loads, (place.folder / "out.jsonl").read_bytes().splitlines())
    bodies = [result["response"]["body"] for result in results]
    assert ["reused_from" in body for body in bodies] == [True] * 6 + [False] * 2
    status = place.run("status", "latest").out.decode()
    assert "6 from 1 earlier batch" in status
    batch = place.run("status", "latest", "--json").json()
    assert batch["reused_requests"] == 6
    assert batch["request_counts"] == {"total": 8, "completed": 8, "failed": 0}


def test_without_the_option_everything_runs(place, submitted):
    assert submitted(few(6)).code == 0
    batch = place.run("status", "latest", "--json").json()
    assert (batch["reuse"], batch["reused_requests"]) == ([], 0)


@pytest.mark.usefixtures("submitted")
def test_a_batch_is_indexed_when_it_has_ended(place):
    (index,) = place.storage.rglob("answer_index")
    assert json.loads(index.read_bytes().splitlines()[0])["format"] == 1


def test_an_unknown_batch_is_an_error_before_anything_is_stored(place, submitted):
    done = submitted(few(6), "--reuse", f"batch_{0:032x}")
    assert done.code == 2
    assert "no such batch" in done.err
    assert "hint:" in done.err
    batches = place.run("list", "--json").json()["data"]
    assert len(batches) == 1


def test_words_that_can_not_be_combined_are_an_error(submitted):
    done = submitted(few(6), "--reuse", "auto", "--reuse", "latest")
    assert done.code == 2
    assert "can't be combined" in done.err


@pytest.mark.usefixtures("submitted")
def test_an_estimate_leaves_out_what_is_reused(place):
    file = place.file("more.jsonl", few(8))
    wish = ("estimate", file, "--model", "demo", "--reuse", "latest")
    whole = place.run("estimate", file, "--model", "demo", "--json").json()
    part = place.run(*wish, "--json").json()
    assert part["request_counts"]["total"] == 8
    assert (whole["request_counts"]["reused"], part["request_counts"]["reused"]) == (
        0,
        6,
    )
    assert part["output_tokens"]["max"] == 2 * 8
    assert part["input_tokens"] < whole["input_tokens"]
    assert "reused    6, which are not run" in place.run(*wish).out.decode()


def test_only_new_and_changed_rows_of_a_table_run(place):
    def rows(count, changed=()):
        texts = (f"{'new ' * (row in changed)}text {row}" for row in range(count))
        each = ({"id": f"row {n}", "text": text} for n, text in enumerate(texts))
        return b"".join(json.dumps(row).encode() + b"\n" for row in each)

    def submit(data, *options):
        file = place.file("rows.jsonl", data)
        prompt = ("--prompt", "{{ text }}", "--samples", "3", "--id-column", "id")
        wish = (*prompt, "--model", "demo", "--output", "rows.parquet", *options)
        done = place.run("submit", file, *wish, settings=SIMULATED)
        assert done.code == 0, done.err

    submit(rows(20))
    submit(rows(25, changed={3, 7}), "--reuse", "latest")
    table = parquet.read_table(place.folder / "rows.parquet")
    origins = table["reused_from"].to_pylist()
    assert len(origins) == 25 * 3
    assert origins.count(None) == (5 + 2) * 3
    assert table["text"].to_pylist()[9] == "new text 3"
