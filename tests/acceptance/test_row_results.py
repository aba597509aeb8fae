"""The results of a batch of rows, as commands write and print them."""

import json
import signal

import pyarrow as pa
import pytest
from pyarrow import parquet

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.rows.row_options import RowOptions
from tests.acceptance.serving import serving
from tests.acceptance.stored import checkpointed, checkpoints
from tests.support.ended import echo
from tests.support.row_batches import ended_rows, parquet_bytes, submit_rows

TABLE = pa.table(
    {
        "id": [4, 5, 6],
        "question": ["a", "b", "c"],
        "content": pa.array([None, ["x"], []], pa.list_(pa.string())),
    }
)
SUBMIT = ("rows.parquet", "--model", "demo", "--prompt", "{{ question }}")
SETTINGS = {"simulated_tokens_per_second": 10_000}
NAMES = ["id", "question", "input_content", "row", "sample", "prompt_text"]


@pytest.fixture(scope="module")
def place(make_place):
    place = make_place()
    place.file("rows.parquet", parquet_bytes(TABLE))
    return place


@pytest.fixture(scope="module")
def submitted(place):
    """A command that has written both formats."""
    output = ("-o", "out.jsonl", "--format", "both", "--samples", "2")
    done = place.run("submit", *SUBMIT, *output, settings=SETTINGS)
    assert done.code == 0, done.err
    return done


def lines(data):
    return [json.loads(line) for line in data.splitlines()]


@pytest.mark.usefixtures("submitted")
def test_submit_writes_the_columns_in_both_formats(place):
    rows = lines((place.folder / "out.jsonl").read_bytes())
    table = parquet.read_table(place.folder / "out.parquet")
    assert table.column_names[:6] == NAMES
    assert [[*row] for row in rows] == [table.column_names] * 6
    for found in (rows, table.to_pylist()):
        assert [row["id"] for row in found] == [4, 4, 5, 5, 6, 6]
        assert [row["sample"] for row in found] == [1, 2] * 3
        assert [row["input_content"] for row in found][1:4] == [None, ["x"], ["x"]]
        assert all(row["content"] for row in found)
    assert not (place.folder / "out.errors.jsonl").exists()


def test_submit_reports_a_renamed_column_once(submitted):
    assert submitted.err.count("`content` is `input_content`") == 1


def test_results_prints_the_table(place, submitted):
    batch_id = submitted.out.decode().strip()
    written = (place.folder / "out.jsonl").read_bytes()
    assert place.run("results", batch_id).out == written
    first = place.run("results", batch_id, "--head", "2").out
    assert first == b"".join(written.splitlines(keepends=True)[:2])
    assert place.run("results", batch_id, "--errors").out == b""


def test_results_chooses_columns_and_rows(place, submitted):
    batch_id = submitted.out.decode().strip()
    options = ("--columns", "question", "--no-response", "--only", "completed")
    [row, *_] = lines(place.run("results", batch_id, *options).out)
    assert [*row][:3] == ["question", "row", "sample"]
    assert "response" not in row
    done = place.run("results", batch_id, *options, "-o", "few.parquet")
    assert done.code == 0
    assert "input_content" not in done.err
    found = parquet.read_table(place.folder / "few.parquet").column_names
    assert found == [*row]


def test_submit_to_stdout_prints_the_table(place):
    options = ("-o", "-", "--columns", "none", "--no-response")
    done = place.run("submit", *SUBMIT, *options, settings=SETTINGS)
    assert [[*row][:2] for row in lines(done.out)] == [["row", "sample"]] * 3


WRONG = {
    "an unknown column": (SUBMIT, "no column `ids`", "use `--columns id`"),
    "columns of requests": (
        ("requests.jsonl", "--model", "demo"),
        "the input holds requests",
        "make requests of rows with `--prompt TEXT`",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_columns_are_an_error_before_anything_is_stored(place, case):
    arguments, message, hint = WRONG[case]
    place.file("requests.jsonl", b'{"messages": [{"role": "user", "content": "a"}]}')
    before = batches(place)
    done = place.run("submit", *arguments, "--columns", "ids", settings=SETTINGS)
    assert done.code == 2
    assert message in done.err
    assert hint in done.err
    assert batches(place) == before


def batches(place):
    return sorted(place.storage.glob("projects/default/batches/*"))


def test_the_first_rows_of_a_running_batch_have_their_columns(make_place):
    place = make_place()
    table = pa.table({"id": range(40), "tokens": [4] * 20 + [400] * 20})
    place.file("rows.parquet", parquet_bytes(table))
    place.file(
        "request.json",
        b'{"messages": [{"role": "user", "content": "{{ id }}"}],'
        b' "max_tokens": "{{ tokens }}"}',
    )
    slow = {"simulated_tokens_per_second": 5, "checkpoint_seconds": 0.2}
    arguments = ("rows.parquet", "--model", "demo", "--template", "request.json")
    run = place.start("submit", *arguments, settings=slow)
    run.until(lambda: len(checkpointed(checkpoints(place.storage))) >= 20)
    batch_id = run.out.read_text().strip()
    done = place.run("results", batch_id, "--head", "5")
    run.signal(signal.SIGKILL)
    run.process.wait()
    assert [row["id"] for row in lines(done.out)] == [0, 1, 2, 3, 4]
    assert all(row["prompt_text"] == str(row["id"]) for row in lines(done.out))
    followed = place.run("results", batch_id, "--follow", "--head", "7")
    assert [row["id"] for row in lines(followed.out)] == [*range(7)]


@pytest.fixture(scope="module")
def server(make_place):
    with serving(make_place()) as server:
        yield server


@pytest.fixture(scope="module")
def ended(server):
    """The id of an ended batch of rows, of which one has failed."""
    rows = RowOptions(prompt="{{ question }}", samples=2)
    return ended_rows(server.hand, TABLE, half, rows=rows).batch.id


def half(request):
    if request.line == 2:
        return RequestRefusedError("no", code="x")
    return echo(request)


OPTIONS = {
    "all": (),
    "chosen": ("--columns", "content,id", "--no-response", "--only", "completed"),
    "none": ("--columns", "none"),
    "head": ("--head", "3"),
    "errors": ("--errors",),
    "followed": ("--follow",),
    "unknown": ("--columns", "ids"),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=[*OPTIONS])
def test_a_server_prints_the_same_table(server, ended, options):
    there = server.ask("results", ended, *options)
    here = server.place.run("results", ended, *options)
    assert (there.code, there.out) == (here.code, here.out)
    assert there.out or "--errors" not in options


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize("options", [OPTIONS["all"], OPTIONS["chosen"]])
def test_a_server_writes_the_same_table(server, ended, name, options):
    files = {}
    for where, run in (("there", server.ask), ("here", server.place.run)):
        done = run("results", ended, *options, "-o", f"{where}-{name}")
        assert done.code == 0, done.err
        assert "`content` is `input_content`" in done.err
        files[where] = (server.place.folder / f"{where}-{name}").read_bytes()
    assert files["there"] == files["here"]


def test_a_server_prints_the_finished_rows_of_a_running_batch(server):
    hand = server.hand
    batch_id = submit_rows(hand, TABLE, rows=RowOptions(prompt="{{ question }}"))
    hand.run(batch_id, shards=1)
    there, here = server.ask("results", batch_id), server.place.run("results", batch_id)
    assert [row["question"] for row in lines(there.out)] == ["a", "b"]
    assert there.out == here.out
    hand.finalize(batch_id, "cancelled")
    table = server.ask("results", batch_id, "--columns", "question", "--no-response")
    assert [row["status"] for row in lines(table.out)] == ["completed"] * 2 + ["failed"]
