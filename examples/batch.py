"""Run a file of requests with the installed `batchchat`, and resume it after a stop.

A batch has a name and a folder, which contains::

    <name>.requests.jsonl   the requests
    <name>.json             the batch's id, with which a second run resumes it
    <name>.results.jsonl    the results, and <name>.results.errors.jsonl

The command decides where the batch runs: on this machine, or on a cluster.
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
_MAX_SEARCHED_BATCHES = 1000
"""Newest batches that are searched for one whose id was not recorded."""


class RecipeError(Exception):
    """An error that the user can fix."""


class Result(NamedTuple):
    """The result of a request: a response body, or an error; `ran` if it was run."""

    body: dict[str, Any] | None
    error: str | None
    ran: bool

    @property
    def text(self) -> str:
        """The text of the answer."""
        message = (self.body or {})["choices"][0]["message"]
        return message["content"] or ""


@dataclass
class _Record:
    """The batch of a file of requests; `key` is in the batch's metadata."""

    key: str
    digest: str
    batch: str | None = None
    used: bool = False


class Batch:
    """Requests to one model that are run once, even across several runs."""

    def __init__(self, folder: Path, name: str, model: str) -> None:
        """Name the batch; `model` is what `batchchat submit --model` takes."""
        self._name = name
        self._model = model
        self._stem = folder / name

    def run(
        self,
        requests: Iterable[Mapping[str, Any]],
        *,
        options: Sequence[str] = (),
    ) -> str:
        """Run the requests and write their results; return the batch's id.

        The same requests are submitted once: an earlier batch is resumed, until
        `mark_used` is called.

        Raises:
            SystemExit: `batchchat` failed and has printed why.

        """
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        written = f"{self._write(requests)} {self._model} {options}"
        digest = hashlib.sha256(written.encode()).hexdigest()
        record = self._read_record()
        if record is None or record.digest != digest or record.used:
            record = _Record(key=uuid4().hex, digest=digest)
            self._write_record(record)
            record.batch = self._submit(record, options)
            self._write_record(record)
        elif record.batch is None:  # stopped between the submission and its record
            record.batch = _find_batch(record.key) or self._submit(record, options)
            self._write_record(record)
        _run("resume", record.batch)
        _output_of("results", record.batch, "--output", self._path(".results.jsonl"))
        return record.batch

    def results(self) -> dict[str, Result]:
        """Return the results by their custom_id."""
        return {
            line["custom_id"]: _result(line)
            for ending in (".results.jsonl", ".results.errors.jsonl")
            for line in read_lines(self._path(ending))
        }

    def mark_used(self) -> None:
        """Record that the results were used: the next run is a new batch."""
        record = self._read_record()
        if record is not None:
            record.used = True
            self._write_record(record)

    def _write(self, requests: Iterable[Mapping[str, Any]]) -> str:
        """Write the requests and return their digest."""
        digest = hashlib.sha256()
        with self._path(".requests.jsonl").open("wb") as out:
            for request in requests:
                line = json.dumps(request).encode() + b"\n"
                digest.update(line)
                out.write(line)
        return digest.hexdigest()

    def _submit(self, record: _Record, options: Sequence[str]) -> str:
        metadata = "--metadata", f"recipe={self._name[:400]}", "--metadata"
        file = self._path(".requests.jsonl")
        fixed = "--model", self._model, "--no-wait", *metadata, f"key={record.key}"
        # A request that is too long for the model gets an error; the others run.
        skip = "--on-invalid", "skip"
        return _output_of("submit", file, *fixed, *skip, *options).strip()

    def _read_record(self) -> _Record | None:
        try:
            return _Record(**json.loads(self._path(".json").read_text("utf-8")))
        except FileNotFoundError:
            return None

    def _write_record(self, record: _Record) -> None:
        write_atomically(self._path(".json"), json.dumps(asdict(record)) + "\n")

    def _path(self, ending: str) -> Path:
        return self._stem.with_name(self._stem.name + ending)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file, or none if it does not exist.

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
    """Write a JSONL file atomically."""
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines))


def write_atomically(path: Path, text: str) -> None:
    """Write a file atomically, and create its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def say(text: str) -> None:
    """Print a message on stderr; stdout is for the recipe's output."""
    print(text, file=sys.stderr, flush=True)


def _result(line: dict[str, Any]) -> Result:
    response, error = line["response"], line["error"]
    if response is None:
        return Result(None, error["code"], ran=False)
    if "error" in response["body"]:
        return Result(None, response["body"]["error"]["message"], ran=True)
    return Result(response["body"], None, ran=True)


def _find_batch(key: str) -> str | None:
    """Return the id of the batch that was submitted with `key`, if any."""
    listed = json.loads(_output_of("list", "--limit", _MAX_SEARCHED_BATCHES, "--json"))
    keys = {(it["metadata"] or {}).get("key"): str(it["id"]) for it in listed["data"]}
    return keys.get(key)


def _command() -> str:
    """Return the path of `batchchat`: beside this Python, or on the PATH."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    found = shutil.which("batchchat", path=places)
    if found is None:
        raise RecipeError("the command `batchchat` was not found: install it first")
    return found


def _output_of(*arguments: object) -> str:
    """Run a short command and return what it prints."""
    command = [_command(), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(done.returncode)
    return done.stdout


def _run(*arguments: str) -> None:
    """Run a command that may take hours and prints on stderr.

    It receives a terminal's Ctrl-C itself, and a SIGTERM of this process is passed on,
    so that both stop in order. If this process is killed, so is the command: it would
    otherwise continue a batch that the next run needs to resume.
    """
    process = subprocess.Popen(
        [_command(), *arguments],
        stdout=subprocess.DEVNULL,
        preexec_fn=partial(_die_with, os.getpid()),  # noqa: PLW1509 - there is one thread
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
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)
