"""Commands handle a closed or full stdout."""

import pytest


def into(target):
    """Return a wrapper that redirects a command's stdout in a shell."""
    return ("bash", "-o", "pipefail", "-c", f'"$@" {target}', "bash")


def test_closed_pipe_is_not_a_failure(place):
    done = place.run("models", through=into("| :"))
    assert (done.code, done.out, done.err) == (0, b"", "")


def test_full_disk_behind_stdout_is_an_error(place):
    done = place.run("models", through=into("> /dev/full"))
    assert done.code == 2
    assert done.err.startswith("error: can't write to stdout: No space left on device")


def test_full_disk_is_an_error_for_binary_output(place):
    place.file("in.jsonl", b"{}\n")
    done = place.run("validate", "in.jsonl", "--json", through=into("> /dev/full"))
    assert done.code == 2
    assert done.err.startswith("error: can't write to stdout: No space left on device")


@pytest.mark.parametrize("command", [("models",), ("models", "--json")])
def test_closed_stdout_is_an_error(place, command):
    done = place.run(*command, through=into(">&-"))
    assert done.code == 2
    assert done.err.startswith("error: can't write to stdout: Bad file descriptor")


def test_command_runs_without_stdin_and_stderr(place):
    done = place.run("models", through=into("<&- 2>&-"))
    assert (done.code, done.err) == (0, "")
    assert b"demo" in done.out
