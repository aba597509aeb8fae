"""Commands print the same through a server as over its storage directly."""

import re

import httpx
import pyarrow.parquet as pq
import pytest

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.ledger.submission import cancel_batch
from tests.acceptance.serving import Serving
from tests.support.ended import bare, completion, whole

pytestmark = pytest.mark.slow

GOOD = b"".join(whole(f"q-{n}", f"question {n}") + b"\n" for n in range(5))
BAD = whole("a", "x", top_k="7") + b"\n{\n" + whole("b", "y") + b"\n"


def half(request):
    """Refuse every second request."""
    if request.line % 2:
        return completion(f"re: {request.custom_id}")
    return RequestRefusedError("no", code="no", param="n")


@pytest.fixture(scope="module")
def server(make_place):
    server = Serving(make_place())
    server.start()
    return server


@pytest.fixture(scope="module")
def batches(server):
    """One batch in each state, by its name."""
    hand = server.hand
    made = {"validating": hand.submit(GOOD, plan=False)}
    made["in progress"] = hand.submit(GOOD)
    hand.run(made["in progress"], shards=1)
    made["failed"] = hand.submit(BAD)
    made["all completed"] = hand.ended(GOOD).batch.id
    made["some failed"] = hand.ended(GOOD, half, metadata={"k": "v"}).batch.id
    made["all failed"] = hand.ended(GOOD, lambda _: RequestRefusedError("n")).batch.id
    made["streamed"] = hand.ended(bare("x", stream=True)).batch.id
    made["cancelled"] = hand.submit(GOOD)
    cancel_batch(hand.ledger, made["cancelled"])
    hand.finalize(made["cancelled"], "cancelled")
    made["expired"] = hand.submit(GOOD)
    hand.run(made["expired"], shards=2)
    hand.finalize(made["expired"], "expired")
    return made


ENDED = [
    "failed",
    "all completed",
    "some failed",
    "all failed",
    "streamed",
    "cancelled",
    "expired",
]
RUNNING = ["validating", "in progress"]


@pytest.fixture
def both(server):
    """Run a command here and as a client; return how both ended."""

    def run(*arguments):
        here, there = server.place.start(*arguments), server.client(*arguments)
        return here.end(), there.end()

    return run


def outcome(done):
    return done.code, done.out, done.err


def lasting(text):
    """Return the lines without those that depend on the time and on what runs it."""
    passing = rb"  (elapsed|deadline|speed|time left) "
    return [line for line in text.splitlines() if not re.match(passing, line)]


COMMANDS = [
    ["status", "--json"],
    ["watch", "--json", "--no-progress"],
    ["resume"],
    ["results"],
    ["results", "--errors"],
]


@pytest.mark.parametrize("command", ["status", "watch"])
@pytest.mark.parametrize("state", ENDED)
def test_ended_batch_looks_the_same(both, batches, state, command):
    here, there = both(command, batches[state])
    assert outcome(here) == outcome(there)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("state", ["failed", "some failed", "cancelled"])
def test_each_command_prints_the_same(both, batches, state, command):
    here, there = both(command[0], batches[state], *command[1:])
    assert outcome(here) == outcome(there)


@pytest.mark.parametrize("state", RUNNING)
@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["results"]])
def test_running_batch_looks_the_same_except_for_the_hint(
    both, batches, state, command
):
    here, there = both(command[0], batches[state], *command[1:])
    assert here.code == there.code
    assert lasting(here.out) == lasting(there.out)
    assert here.err.partition("hint:")[0] == there.err.partition("hint:")[0]
    if command == ["status"]:
        assert f"hint: follow it with `batchchat watch {batches[state]}`" in there.err


@pytest.mark.parametrize("state", ["failed", "all completed", "all failed", *RUNNING])
def test_retry_of_a_wrong_batch_is_the_same_error(both, batches, state):
    here, there = both("retry", batches[state])
    assert here.code == 2
    assert outcome(here) == outcome(there)


@pytest.mark.parametrize("state", ["failed", "all completed", "cancelled"])
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["", "json"])
def test_cancel_of_an_ended_batch_prints_the_same(both, batches, state, options):
    here, there = both("cancel", batches[state], *options)
    assert here.code == (0 if state == "cancelled" else 2)
    assert outcome(here) == outcome(there)


def without_runner_and_age(table):
    """Return a table without its last two columns."""
    last_columns = rb" +(none|server)? +\d+[smhd]$"
    return re.sub(last_columns, b"", table, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--json"],
        ["--limit", "2", "--json"],
        ["--status", "completed", "--metadata", "k=v", "--json"],
    ],
    ids=" ".join,
)
def test_list_is_the_same_except_for_what_runs_a_batch(both, batches, options):
    here, there = both("list", *options)
    assert here.out.count(b"batch_") >= (1 if "--status" in options else 2)
    assert (here.code, here.err) == (there.code, there.err)
    assert without_runner_and_age(here.out) == without_runner_and_age(there.out)
    assert (b"server" in there.out) is (not options)
    assert len(batches) == len(set(batches.values()))


def test_the_beginning_of_an_id_and_latest_are_the_same(server, both, batches):
    newest = server.ask("list", "--limit", "1", "--json").json()["first_id"]
    assert newest >= max(batches.values())
    for typed in ("latest", newest[6:30], newest[:-1]):
        here, there = both("status", typed, "--json")
        assert here.json()["id"] == newest
        assert outcome(here) == outcome(there)


def test_list_reads_several_pages_of_the_server(make_place):
    server = Serving(make_place())
    server.start()
    ids = [server.hand.submit(GOOD, plan=False) for _ in range(130)]
    listed = server.ask("list", "--limit", "120", "--json").json()
    assert [batch["id"] for batch in listed["data"]] == ids[::-1][:120]
    assert listed["has_more"] is True
    everything = server.ask("list", "--limit", "200", "--json").json()
    assert (len(everything["data"]), everything["has_more"]) == (130, False)


def test_models_are_the_same(both):
    here, there = both("models", "--json")
    assert outcome(here) == outcome(there)
    here, there = both("models")
    assert here.out == there.out
    assert there.err == ""  # a server offers only its catalog


WRONG = {
    "an unknown batch": ["status", f"batch_{'0' * 32}"],
    "an invalid ID": ["results", "../../etc/passwd"],
    "cancel an unknown batch": ["cancel", f"batch_{'0' * 32}"],
    "retry an unknown batch": ["retry", f"batch_{'0' * 32}"],
    "Parquet to stdout": ["results", f"batch_{'0' * 32}", "--format", "parquet"],
    "a missing file": ["submit", "nowhere.jsonl", "--model", "m"],
    "a file on S3": ["submit", "s3://bucket/in.jsonl", "--model", "m"],
    "a mistyped URL": ["submit", "catalog.toml", "--model", "m", "-o", "s3:/x"],
    "an unsupported URL": ["submit", "catalog.toml", "-m", "m", "-o", "gs://b/x"],
    "a directory as output": ["submit", "catalog.toml", "--model", "m", "-o", "."],
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_wrong_call_is_the_same_error(both, arguments):
    here, there = both(*arguments)
    assert here.code == 2
    assert outcome(here) == outcome(there)


def test_unknown_model_is_an_error_before_the_upload(server):
    file = server.place.file("in.jsonl", GOOD)
    before = len(server.files())
    done = server.ask("submit", file, "--model", "org/other")
    assert (done.code, done.out) == (2, b"")
    assert "error: unknown model `org/other`" in done.err
    assert "hint: list the models with `batchchat models`" in done.err
    assert len(server.files()) == before


@pytest.mark.parametrize("state", ["all completed", "some failed", "cancelled"])
def test_written_files_are_the_same(server, batches, state):
    folder = server.place.folder / f"both {state}"
    folder.mkdir()
    options = ["--format", "both", "--output"]
    here, there = (
        run("results", batches[state], *options, folder / name / "out.jsonl")
        for run, name in ((server.place.run, "here"), (server.ask, "there"))
    )
    assert here.code == there.code == 0
    assert here.err == re.sub("/there/", "/here/", there.err)
    names = {path.name for path in (folder / "here").iterdir()}
    assert names == {path.name for path in (folder / "there").iterdir()}
    for name in names:
        one, other = folder / "here" / name, folder / "there" / name
        if name.endswith(".parquet"):
            assert pq.read_table(one).equals(pq.read_table(other))
        else:
            assert one.read_bytes() == other.read_bytes()


def test_submit_waits_writes_the_results_and_reports(server):
    file = server.place.file("in.jsonl", GOOD)
    running = server.client("submit", file, "--model", "m", "--output", "mine.jsonl")
    batch_id = running.until(lambda: running.out.read_text().strip())
    server.end_batch(batch_id, half)
    done = running.end()
    assert (done.code, done.out.decode()) == (1, f"{batch_id}\n")
    report = server.place.run("watch", batch_id).err
    output = server.place.folder / "mine.jsonl"
    assert f"  wrote    {output}\n" in done.err
    assert report.partition("\n\n")[0] in done.err
    assert output.read_bytes() == server.place.run("results", batch_id).out
    assert f"`batchchat results {batch_id} --errors`" in done.err
    assert "batchchat retry" not in done.err  # refused requests would be refused again


def test_stdout_has_only_the_results(server):
    running = server.client("submit", "-", "-o", "-", "--model", "m", stdin=GOOD)
    running.until_it_says("batch_")
    batch_id = running.err.read_text().partition("\n")[0]
    server.end_batch(batch_id)
    done = running.end()
    assert done.code == 0
    assert done.out == server.place.run("results", batch_id).out
    assert server.files()[1]["filename"] == "stdin"


def test_options_reach_the_server(server):
    file = server.place.file("in.jsonl", GOOD)
    options = ["--seed", "7", "--metadata", "k=v", "--completion-window", "7d"]
    more = ["--priority", "high", "--on-invalid", "skip", "--model", "m", "--no-wait"]
    done = server.ask("submit", file, *options, *more)
    batch_id = done.out.decode().strip()
    assert f"hint: follow it with `batchchat watch {batch_id}`" in done.err
    batch = server.hand.ledger.batch(batch_id)
    assert (batch.seed, batch.metadata, batch.priority) == (7, {"k": "v"}, "high")
    assert (batch.completion_window, batch.on_invalid) == ("7d", "skip")
    assert (batch.model, batch.output) == ("m", None)


def test_retry_creates_a_batch_of_what_failed(server, batches):
    running = server.client("retry", batches["expired"], "--output", "again.jsonl")
    batch_id = running.until(lambda: running.out.read_text().strip())
    server.end_batch(batch_id)
    done = running.end()
    assert done.code == 0
    assert server.hand.ledger.batch(batch_id).retry_of == batches["expired"]
    assert (server.place.folder / "again.jsonl").read_bytes().count(b"\n") == 1


def test_cancel_reaches_the_server(server):
    batch_id = server.hand.submit(GOOD)
    done = server.ask("cancel", batch_id)
    assert (done.code, done.out) == (0, b"cancelling\n")
    assert server.hand.ledger.state(batch_id).status == "cancelling"


def test_server_keeps_the_input_of_a_batch_created_by_a_command(server):
    file = server.place.file("in.jsonl", GOOD)
    done = server.place.run("submit", file, "--model", "m", "--no-wait")
    batch_id = done.out.decode().strip()
    file_id = server.hand.ledger.batch(batch_id).input_file_id
    place = f"http://127.0.0.1:{server.port}/v1/files/{file_id}"
    assert httpx.delete(place).status_code == 409
    server.end_batch(batch_id)
    assert httpx.delete(place).status_code == 200
