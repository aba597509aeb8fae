"""Commands handle a closed or full stdout and stderr."""

import json

import pytest

from batchchat.jobs.storage import open_storage
from tests.support.ended import Hand, whole

FULL = "No space left on device"
CLOSED = "Bad file descriptor"
SIMULATED = {"simulated_tokens_per_second": 100_000}
REQUEST = whole("a", "hello") + b"\n"


def into(target):
    """Return a wrapper that redirects a command's streams in a shell."""
    return ("bash", "-o", "pipefail", "-c", f'"$@" {target}', "bash")


@pytest.fixture(scope="module")
def ended(make_place):
    """A place with a batch that has ended."""
    place = make_place()
    Hand(open_storage(str(place.storage))).ended(REQUEST)
    return place


@pytest.mark.parametrize(
    ("command", "target", "why"),
    [
        ("--help", ">&-", CLOSED),
        ("keys -h", "> /dev/full", FULL),
        ("--version", ">&-", CLOSED),
        ("models", "> /dev/full", FULL),
        ("models --json", ">&-", CLOSED),
        ("list", "> /dev/full", FULL),
        ("status latest", ">&-", CLOSED),
        ("results latest", "> /dev/full", FULL),
    ],
)
def test_unwritable_stdout_is_an_error(ended, command, target, why):
    done = ended.run(*command.split(), through=into(target))
    assert done.code == 2
    assert done.err.startswith(f"error: can't write to stdout: {why}\n\nhint: ")
    assert len(done.err.splitlines()) == 3


@pytest.mark.parametrize("command", ["--help", "models", "results latest"])
def test_closed_pipe_is_not_a_failure(ended, command):
    done = ended.run(*command.split(), through=into("| :"))
    assert (done.code, done.out, done.err) == (0, b"", "")


@pytest.mark.parametrize(
    ("command", "target", "code"),
    [
        ("list --limit 0", "2> /dev/full", 2),
        ("list --status failed", "2> /dev/full", 0),
        ("status latest", "2> >(:)", 0),
        ("nonsense", "2>&-", 2),
        ("models", "<&- 2>&-", 0),
    ],
)
def test_unwritable_stderr_does_not_change_the_exit_status(
    ended, command, target, code
):
    assert ended.run(*command.split(), through=into(target)).code == code


def test_full_disk_is_an_error_for_binary_output(place):
    place.file("in.jsonl", b"{}\n")
    done = place.run("validate", "in.jsonl", "--json", through=into("> /dev/full"))
    assert done.code == 2
    assert done.err.startswith(f"error: can't write to stdout: {FULL}")


@pytest.mark.parametrize("target", ["2> /dev/full", "2>&-"])
def test_batch_runs_without_a_working_stderr(place, target):
    file = place.file("in.jsonl", REQUEST)
    options = ("--model", "demo", "--output", "out.jsonl")
    through = into(target)
    done = place.run("submit", file, *options, through=through, settings=SIMULATED)
    assert done.code == 0
    assert json.loads((place.folder / "out.jsonl").read_bytes())["custom_id"] == "a"


def test_batch_runs_if_no_process_reads_its_id(place):
    file = place.file("in.jsonl", REQUEST)
    options = ("--model", "demo", "--output", "out.jsonl")
    through = into("| :")
    done = place.run("submit", file, *options, through=through, settings=SIMULATED)
    assert done.code == 0
    assert done.err.startswith("batch_")
    assert (place.folder / "out.jsonl").exists()


def test_error_of_a_new_batch_names_it(place):
    file = place.file("in.jsonl", REQUEST)
    through = into("> /dev/full")
    done = place.run("submit", file, "--model", "demo", "--no-wait", through=through)
    [batch] = place.run("list", "--json").json()["data"]
    assert done.code == 2
    assert f"error: can't write to stdout: {FULL}" in done.err
    assert f"hint: `{batch['id']}` is stored; run it with `batchchat resume" in done.err


@pytest.mark.parametrize("options", [["--json"], ["--output", "-"]])
def test_error_of_a_run_tells_where_the_results_are(place, options):
    file = place.file("in.jsonl", REQUEST)
    command = ("submit", file, "--model", "demo", *options)
    done = place.run(*command, through=into("> /dev/full"), settings=SIMULATED)
    [batch] = place.run("list", "--json").json()["data"]
    assert (done.code, batch["status"]) == (2, "completed")
    assert f"`batchchat results {batch['id']} --output PATH`" in done.err


@pytest.mark.parametrize("target", ["> /dev/full", "| :"])
def test_key_that_is_not_shown_is_revoked(place, target):
    done = place.run("keys", "create", through=into(target))
    assert done.code == 2
    assert "error: the key can't be written to stdout, so it was revoked" in done.err
    assert json.loads(place.run("keys", "list", "--json").out)["revoked_at"]
