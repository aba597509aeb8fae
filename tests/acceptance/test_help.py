"""Help texts, and the errors for wrong calls."""

import re

import pytest

COMMANDS = [
    "submit",
    "validate",
    "render",
    "estimate",
    "convert",
    "status",
    "list",
    "watch",
    "results",
    "cancel",
    "resume",
    "retry",
    "verify",
    "delete",
    "prune",
    "logs",
    "models",
    "worker",
    "controller",
    "doctor",
    "serve",
    "keys",
]
HEAVY = {"boto3", "pyarrow", "pydantic", "tokenizers", "torch", "transformers", "vllm"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_ends_with_an_example(place, command):
    done = place.run(command, "--help")
    assert (done.code, done.err) == (0, "")
    text = done.out.decode()
    assert text.startswith(f"Usage: batchchat {command}")
    example = rf"\n\n  Example:\n    (BATCHCHAT_\S+ )?batchchat {command}[^\n]*\n\Z"
    assert re.search(example, text)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns(place, command):
    place.environment["COLUMNS"] = "80"
    text = place.run(*command.split(), "--help").out.decode()
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"[a-z,]\.\.\.$", text, re.MULTILINE)  # nothing is cut off


@pytest.mark.parametrize("asked", [["--help"], ["-h"], []], ids=["long", "short", ""])
def test_help_lists_every_command(place, asked):
    done = place.run(*asked)
    assert (done.code, done.err) == (0, "")
    listed = re.findall(r"^  ([a-z]+)  ", done.out.decode(), re.MULTILINE)
    assert listed == COMMANDS


def test_version_is_printed(place):
    assert re.fullmatch(rb"batchchat \d+\.\d+\.\d+\n", place.run("--version").out)


def test_help_imports_no_heavy_module(place):
    place.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    done = place.run("--help")
    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert "typer" in loaded
    assert HEAVY & {name.partition(".")[0] for name in loaded} == set()


WRONG = {
    "an unknown command": (["submt"], "Did you mean 'submit'?"),
    "an unknown option": (["list", "--jsn"], "--jsn"),
    "a missing file": (["submit"], "Missing argument 'FILE...'"),
    "a missing batch ID": (["status"], "Missing argument 'ID'"),
    "one argument too many": (["models", "demo"], "demo"),
    "an unknown format": (["results", "x", "--format", "csv"], "'parquet'"),
    "a seed below zero": (["submit", "x", "--seed", "-1"], "--seed"),
    "an infinite cost": (["submit", "x", "--max-cost", "inf"], "--max-cost"),
    "an empty project name": (
        ["keys", "create", "--project", ""],
        "not a valid project name",
    ),
    "a limit of zero": (["list", "--limit", "0"], "--limit"),
    "a cost in words": (
        ["submit", "x", "--max-cost", "much"],
        "'much' is not",
    ),
    "metadata without a value": (["submit", "x", "--metadata", "k"], "KEY=VALUE"),
    "an unknown model": (["submit", "x", "--model", "x"], "unknown model `x`"),
    "an invalid batch ID": (["status", "nope"], "no such batch: `nope`"),
    "an id that is a path": (["results", "../../etc"], "no such batch"),
    "an unknown batch": (["cancel", f"batch_{'0' * 32}"], "no such batch"),
}


@pytest.mark.parametrize(("arguments", "reason"), WRONG.values(), ids=WRONG)
def test_wrong_call_is_an_error_with_a_hint(place, arguments, reason):
    done = place.run(*arguments)
    assert (done.code, done.out) == (2, b"")
    error, hint = done.err.strip().split("\n\nhint: ")
    assert error.startswith("error: ")
    assert reason in error
    assert hint
    assert not place.storage.exists()


@pytest.mark.parametrize("broker", ["redis://host:port/0", "http://host"])
def test_worker_rejects_an_invalid_broker_before_loading(place, broker):
    place.environment["BATCHCHAT_BROKER"] = broker
    done = place.run("worker", "--model", "demo", "--no-restart")
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: BATCHCHAT_BROKER: ")
    assert "hint: " in done.err
