"""The kinds of input that the commands accept or reject."""

import gzip
import os
import stat

import pytest

from tests.acceptance.inputs import few

BOM = b"\xef\xbb\xbf"
LINES = few(3)
SHAPES = {
    "as usual": (LINES, [1, 2, 3]),
    "no last line feed": (LINES.rstrip(b"\n"), [1, 2, 3]),
    "CRLF": (LINES.replace(b"\n", b"\r\n"), [1, 2, 3]),
    "a byte order mark": (BOM + LINES, [1, 2, 3]),
    "blank lines": (b"\n" + LINES.replace(b"\n", b"\n \t\n") + b"\n\n", [2, 4, 6]),
    "a mark alone on its line": (BOM + b"\n" + LINES, [2, 3, 4]),
    "all at once": (BOM + b"\r\n\r\n" + LINES.replace(b"\n", b"\r\n\r\n"), [3, 5, 7]),
}


@pytest.mark.parametrize(("data", "lines"), SHAPES.values(), ids=SHAPES)
def test_all_line_endings_are_accepted(place, data, lines):
    file = place.file("requests.jsonl", data)
    assert place.run("validate", file, "--model", "demo").code == 0
    done = place.run("render", file, "--model", "demo", "--json")
    rendered = [line.split(b'"line":')[1] for line in done.out.splitlines()]
    assert [int(rest.partition(b",")[0]) for rest in rendered] == lines
    assert [f'"q-{i}"' in done.out.decode() for i in range(3)] == [True] * 3


def test_bare_bodies_are_requests(place):
    message = b'[{"role": "user", "content": "Hi"}]'
    bare = b'{"messages": %b}\n{"custom_id": "mine", "messages": %b}\n'
    file = place.file("bare.jsonl", bare % (message, message))
    done = place.run("render", file, "--model", "demo", "--json")
    assert b'"custom_id":"request-1"' in done.out.splitlines()[0]
    assert b'"custom_id":"mine"' in done.out.splitlines()[1]


def test_render_prints_the_templates_prompt(place):
    file = place.file("requests.jsonl", few(1))
    done = place.run("render", file, "--model", "demo", "--json")
    [line] = done.out.splitlines()
    rendered = place.run("render", "-", "--model", "demo", "--json", stdin=few(1))
    assert rendered.out == done.out
    prompt = b"<s><|user|>\\nQuestion 0<|end|>\\n<|assistant|>\\n"
    assert b'"prompt":"%b","prompt_tokens":12}' % prompt in line


def test_input_may_come_from_stdin(place):
    done = place.run("submit", "-", "--model", "demo", "--no-wait", stdin=LINES)
    assert done.code == 0
    batch_id = done.out.decode().strip()
    assert place.run("status", batch_id, "--json").json()["status"] == "validating"
    [content] = place.storage.glob("projects/default/files/*/content")
    assert content.read_bytes() == LINES


def test_validate_reads_stdin_as_it_reads_a_file(place):
    for data in (LINES, LINES + b"{\n"):
        file = place.file("requests.jsonl", data)
        read, piped = (
            place.run("validate", source, "--model", "demo", "--json", stdin=data)
            for source in (file, "-")
        )
        assert (piped.code, piped.out) == (read.code, read.out)


UNREADABLE = {
    "a missing file": "missing.jsonl",
    "a directory": ".",
    "a file below a file": "a-file/requests.jsonl",
    "a name too long": "x" * 300,
    "an unknown user": "~unknown-user/requests.jsonl",
    "a file that fails to be read": "/proc/self/mem",
}


@pytest.mark.parametrize("command", ["submit", "validate", "estimate", "render"])
@pytest.mark.parametrize("file", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_input_is_an_error_with_a_hint(place, command, file):
    place.file("a-file", b"")
    done = place.run(command, file, "--model", "demo")
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: ")
    assert file[:40] in done.err
    assert "\n\nhint: " in done.err
    assert "Traceback" not in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_without_read_permission_is_an_error(place):
    file = place.file("secret.jsonl", LINES)
    file.chmod(stat.S_IWUSR)
    done = place.run("submit", file, "--model", "demo")
    assert done.code == 2
    assert done.err.startswith(f"error: can't read `{file}`: Permission denied")


@pytest.mark.parametrize("data", [b"", b"\n \n", BOM], ids=["empty", "blank", "mark"])
def test_file_without_requests_fails_without_an_engine(place, data):
    file = place.file("empty.jsonl", data)
    [problem] = place.run("validate", file, "--json").json()["errors"]["data"]
    assert (problem["code"], problem["line"]) == ("empty_file", None)
    done = place.run("submit", file, "--model", "demo", "--json")
    assert done.code == 1
    assert done.json()["status"] == "failed"
    assert "the file has no requests" in done.err


def test_file_name_may_be_invalid_utf8(place):
    file = place.folder / os.fsdecode(b"\xff.jsonl")
    file.write_bytes(LINES)
    assert place.run("validate", file, "--model", "demo").code == 0
    assert place.run("submit", file, "--model", "demo", "--no-wait").code == 0


@pytest.mark.parametrize("options", [[], ["--no-wait"], ["--on-invalid", "skip"]])
def test_a_file_without_models_is_one_error_and_stores_nothing(place, options):
    file = place.file("requests.jsonl", LINES)
    done = place.run("submit", file, *options)
    assert (done.code, done.out) == (2, b"")
    assert done.err.splitlines() == [
        "error: no request names a model",
        "",
        "hint: name one for all of them with `--model NAME`",
    ]
    assert not [it for it in place.storage.rglob("*") if it.is_file()]


def test_stdin_without_models_stores_nothing(place):
    done = place.run("submit", "-", stdin=gzip.compress(LINES * 1000))
    assert done.code == 2
    assert done.err.startswith("error: no request names a model")
    assert not [it for it in place.storage.rglob("*") if it.is_file()]
