"""Runs a file of requests with the installed `batchchat`, and goes on after a stop.

A batch has a name and a folder; beside each other stand there::

    <name>.requests.jsonl   what was asked
    <name>.json             which batch it is, so that a second run goes on with it
    <name>.results.jsonl    what was answered, and <name>.results.errors.jsonl

Where it runs is the command's own affair: here, or on a cluster if there is one.
"""

import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

_SOME_FAILED = 1
_PR_SET_PDEATHSIG = 1
_LOOKED_THROUGH = 1000
"""Batches among which one is looked for whose id could not be noted."""


class RecipeError(Exception):
    """What stops a recipe and can be mended by who started it."""


class Result(NamedTuple):
    """What became of a request: an answer, an error, or nothing yet."""

    body: dict[str, Any] | None
    error: str | None
    ran: bool

    @property
    def text(self) -> str:
        """The answer."""
        message = (self.body or {})["choices"][0]["message"]
        return message["content"] or ""


@dataclass
class _Note:
    """Which batch answers which requests; `key` is the batch's metadata."""

    key: str
    asked: str
    batch: str | None = None
    used: bool = False


class Batch:
    """Requests to one model that are run once, however often that is stopped."""

    def __init__(self, folder: Path, name: str, model: str) -> None:
        """Name the batch; `model` is what `batchchat submit --model` takes."""
        self._name = name
        self._model = model
        self._stem = folder / name
        self.parquet = folder / f"{name}.results.parquet"

    def run(
        self,
        requests: Iterable[Mapping[str, Any]],
        *,
        options: Sequence[str] = (),
        formats: str = "jsonl",
    ) -> str:
        """Have the requests answered and the results written; return the batch's id.

        The same requests are handed in once: what was begun is gone on with, until
        `mark_used` says that its results are where they belong.

        Raises:
            SystemExit: `batchchat` could not do it, and has said why.

        """
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        digest = self._write(requests)
        asked = hashlib.sha256(f"{digest} {self._model} {options}".encode()).hexdigest()
        note = self._noted()
        if note is None or note.asked != asked or note.used:
            note = _Note(key=uuid4().hex, asked=asked)
            self._note(note)
            note.batch = self._submit(note, options)
            self._note(note)
        elif note.batch is None:  # it was stopped between handing in and noting
            note.batch = _batch_of(note.key) or self._submit(note, options)
            self._note(note)
        _run("resume", note.batch)
        output = self.parquet.with_suffix(".jsonl")
        _say("results", note.batch, "--output", output, "--format", formats)
        return note.batch

    def results(self) -> dict[str, Result]:
        """Return the results by their custom_id."""
        return {
            line["custom_id"]: _result(line)
            for ending in (".results.jsonl", ".results.errors.jsonl")
            for line in read_lines(self._path(ending))
        }

    def mark_used(self) -> None:
        """Say that the results are no longer needed: the next run is a new batch."""
        note = self._noted()
        if note is not None:
            note.used = True
            self._note(note)

    def _write(self, requests: Iterable[Mapping[str, Any]]) -> str:
        """Write the requests; return their digest."""
        digest = hashlib.sha256()
        with self._path(".requests.jsonl").open("wb") as out:
            for request in requests:
                line = json.dumps(request).encode() + b"\n"
                digest.update(line)
                out.write(line)
        return digest.hexdigest()

    def _submit(self, note: _Note, options: Sequence[str]) -> str:
        metadata = "--metadata", f"recipe={self._name[:400]}", "--metadata"
        file = self._path(".requests.jsonl")
        asked = "--model", self._model, "--no-wait", *metadata, f"key={note.key}"
        # One that is too long for the model is answered with an error, as one that
        # fails is; all the others are run.
        return _say("submit", file, *asked, "--on-invalid", "skip", *options).strip()

    def _noted(self) -> _Note | None:
        try:
            return _Note(**json.loads(self._path(".json").read_text("utf-8")))
        except FileNotFoundError:
            return None

    def _note(self, note: _Note) -> None:
        write_whole(self._path(".json"), json.dumps(asdict(note)) + "\n")

    def _path(self, ending: str) -> Path:
        return self._stem.with_name(self._stem.name + ending)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file; none where there is no such file.

    Raises:
        RecipeError: a line is not a JSON object.

    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except ValueError as error:
                message = f"`{path}`, line {number}: not JSON: {error}"
                raise RecipeError(message) from None
            if not isinstance(found, dict):
                raise RecipeError(f"`{path}`, line {number}: not a JSON object")
            yield found


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSONL file, whole or not at all."""
    write_whole(path, "".join(json.dumps(line) + "\n" for line in lines))


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all, with the folders that are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, "utf-8")
    aside.replace(path)


def say(text: str) -> None:
    """Tell the user something; stdout is kept for what a recipe is asked for."""
    print(text, file=sys.stderr, flush=True)


def _result(line: dict[str, Any]) -> Result:
    response, error = line["response"], line["error"]
    if response is None:
        return Result(None, error["code"], ran=False)
    if "error" in response["body"]:
        return Result(None, response["body"]["error"]["message"], ran=True)
    return Result(response["body"], None, ran=True)


def _batch_of(key: str) -> str | None:
    """Return the id of the batch that was handed in with `key`, if it was."""
    listed = json.loads(_say("list", "--limit", _LOOKED_THROUGH, "--json"))
    keys = {(it["metadata"] or {}).get("key"): str(it["id"]) for it in listed["data"]}
    return keys.get(key)


def _command() -> str:
    """Return where `batchchat` is: beside this Python, or on the PATH."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    found = shutil.which("batchchat", path=places)
    if found is None:
        raise RecipeError("there is no command `batchchat`: install it first")
    return found


def _say(*arguments: object) -> str:
    """Run a short command; return what it prints."""
    command = [_command(), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(done.returncode)
    return done.stdout


def _run(*arguments: str) -> None:
    """Run a command that may take hours and talks on stderr.

    It gets a terminal's Ctrl-C by itself, and is passed on what ends us: it stops
    in good order, and so do we. Where we are killed it is, too: it would go on with a
    batch that the same command could not have then.
    """
    process = subprocess.Popen(
        [_command(), *arguments],
        stdout=subprocess.DEVNULL,
        preexec_fn=partial(_die_with, os.getpid()),  # noqa: PLW1509 - we have one thread
    )
    handlers = {
        signal.SIGINT: lambda *_: None,
        signal.SIGTERM: lambda *_: process.terminate(),
    }
    before = {number: signal.signal(number, it) for number, it in handlers.items()}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code not in {0, _SOME_FAILED}:
        raise SystemExit(code if code > 0 else 128 - code)


def _die_with(parent: int) -> None:
    """Have the system kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before this was said
        os.kill(os.getpid(), signal.SIGKILL)
