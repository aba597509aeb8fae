"""What `batchchat` says of itself, and to whom holds it wrong."""

import re

import pytest

COMMANDS = [
    "submit",
    "validate",
    "render",
    "estimate",
    "status",
    "list",
    "watch",
    "results",
    "cancel",
    "resume",
    "retry",
    "verify",
    "models",
    "worker",
    "controller",
    "doctor",
    "serve",
    "keys",
]
HEAVY = {"boto3", "pyarrow", "pydantic", "tokenizers", "torch", "transformers", "vllm"}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_with_an_example(place, command):
    done = place.run(command, "--help")
    assert (done.code, done.err) == (0, "")
    text = done.out.decode()
    assert text.startswith(f"Usage: batchchat {command}")
    assert re.search(rf"^  (BATCHCHAT_\S+ )?batchchat {command}", text, re.MULTILINE)


@pytest.mark.parametrize("asked", [["--help"], ["-h"], []], ids=["long", "short", "no"])
def test_the_help_lists_every_command(place, asked):
    done = place.run(*asked)
    assert (done.code, done.err) == (0, "")
    listed = re.findall(r"^  ([a-z]+)  ", done.out.decode(), re.MULTILINE)
    assert listed == COMMANDS


def test_the_version_is_one(place):
    assert re.fullmatch(rb"batchchat \d+\.\d+\.\d+\n", place.run("--version").out)


def test_the_help_loads_nothing_heavy(place):
    place.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    done = place.run("--help")
    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert "typer" in loaded
    assert HEAVY & {name.partition(".")[0] for name in loaded} == set()


WRONG = {
    "an unknown command": (["submt"], "Did you mean 'submit'?"),
    "an unknown option": (["list", "--jsn"], "--jsn"),
    "no file": (["submit"], "Missing argument 'FILE'"),
    "no batch": (["status"], "Missing argument 'ID'"),
    "one argument too many": (["models", "demo"], "demo"),
    "no such format": (["results", "x", "--format", "csv"], "'parquet'"),
    "a seed below zero": (["submit", "x", "--seed", "-1"], "--seed"),
    "a cost without end": (["submit", "x", "--max-cost", "inf"], "--max-cost"),
    "no project's name": (["keys", "create", "--project", ""], "project name ``"),
    "a limit of zero": (["list", "--limit", "0"], "--limit"),
    "metadata without a value": (["submit", "x", "--metadata", "k"], "KEY=VALUE"),
    "no such model": (["submit", "x", "--model", "x"], "no model `x`"),
    "no batch's id": (["status", "nope"], "no such batch: `nope`"),
    "an id that is a path": (["results", "../../etc"], "no such batch"),
    "an unknown batch": (["cancel", f"batch_{'0' * 32}"], "no such batch"),
}


@pytest.mark.parametrize(("arguments", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_call_is_told_what_is_wrong_and_what_to_do(place, arguments, reason):
    done = place.run(*arguments)
    assert (done.code, done.out) == (2, b"")
    error, hint = done.err.strip().split("\n\nhint: ")
    assert error.startswith("error: ")
    assert reason in error
    assert hint
    assert not place.storage.exists()


@pytest.mark.parametrize("broker", ["redis://host:port/0", "http://host"])
def test_a_worker_loads_nothing_for_a_broker_that_is_none(place, broker):
    place.environment["BATCHCHAT_BROKER"] = broker
    done = place.run("worker", "--model", "demo", "--no-restart")
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: BATCHCHAT_BROKER: ")
    assert "hint: " in done.err
