"""Exports the results of a batch to local files."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self
from uuid import uuid4

from batchchat.jobs.errors import CorruptObjectError, OutputError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.results.joined_rows import outcome_of
from batchchat.jobs.results.json_table import write_json_table
from batchchat.jobs.results.merged_rows import MergedRows
from batchchat.jobs.results.parquet import write_parquet
from batchchat.jobs.results.parquet_file import parquet_file_id

_ENDINGS = {".jsonl", ".ndjson", ".json", ".txt", ".parquet"}
"""File name endings that are replaced to name a file of another format."""

_CHOOSE_ANOTHER = "choose another path with `--output`"

Write = Callable[[BinaryIO | RawIOBase], object]


class OutputPaths(NamedTuple):
    """The paths of the exported files; None for an unwanted file."""

    jsonl: Path | None
    errors: Path | None
    parquet: Path | None


def export(
    ledger: Ledger,
    batch_id: str,
    output: Path,
    formats: str,
    options: TableOptions | None = None,
) -> list[Path]:
    """Write the results of a batch that has ended; return the files written.

    `formats` is `jsonl`, `parquet` or `both`; `options` replace those of the batch.
    Each file appears whole or not at all, and none before all are written. If there is
    nothing to write to the error file, that of an earlier run is removed.

    Raises:
        ConflictError: the batch has not ended.
        UsageError: a column of `options` does not exist.
        OutputError: a file can't be written.
        StorageError: the results can't be read.

    """
    state = ledger.state(batch_id)
    places = output_paths(output, formats)
    wanted = list(results_for(ledger, state, places, options))
    return write_atomically(batch_id, places, wanted)


def write_atomically(
    batch_id: str, places: OutputPaths, wanted: list[tuple[Path, Write]]
) -> list[Path]:
    """Write each of `wanted` to its path in `places`; see `export`."""
    command = f"`batchchat results {batch_id} --output PATH`"
    hint = f"the results are kept: write them to another path with {command}"
    with ExitStack() as stack:
        partials = []
        for path, write in wanted:
            partial = stack.enter_context(_Partial(path, hint))
            partial.fill(write)
            partials.append(partial)
        for partial in partials:
            partial.move()
    written = [path for path, _ in wanted]
    if places.errors and places.errors not in written:
        with _translate_errors(places.errors, hint):
            places.errors.unlink(missing_ok=True)
    return written


def write_file(path: Path, write: Write) -> None:
    """Write one file, which appears whole or not at all. Raises `OutputError`."""
    with _Partial(path, _CHOOSE_ANOTHER) as partial:
        partial.fill(write)
        partial.move()


def check_output(output: Path, formats: str) -> None:
    """Check that the results can be written, before a run spends time on them.

    Creates missing folders.

    Raises:
        OutputError: the results can't be written.

    """
    for path in filter(None, output_paths(output, formats)):
        with _Partial(path, _CHOOSE_ANOTHER):
            pass


def output_paths(output: Path, formats: str) -> OutputPaths:
    """Return the path of each file for `--output`.

    Raises:
        OutputError: `output` is a folder, or its ending contradicts the format.

    """
    with _translate_errors(output, _CHOOSE_ANOTHER):
        if not output.name or output.is_dir():
            message = f"can't write the results to `{output}`: it is a folder"
            raise OutputError(message, hint="name a file in it with `--output`")
    stem = output.stem if output.suffix.lower() in _ENDINGS else output.name
    ends_in_parquet = output.suffix.lower() == ".parquet"
    parquet = output if ends_in_parquet else output.with_name(f"{stem}.parquet")
    if formats == "parquet":
        return OutputPaths(None, None, parquet)
    errors = output.with_name(f"{stem}.errors.jsonl")
    if formats == "both":
        jsonl = output.with_name(f"{stem}.jsonl") if ends_in_parquet else output
        return OutputPaths(jsonl, errors, parquet)
    if ends_in_parquet:
        message = f"can't write JSONL to `{output}`: its name ends in `.parquet`"
        raise OutputError(message, hint="use `--format parquet`, or another file name")
    return OutputPaths(output, errors, None)


def results_for(
    ledger: Ledger,
    state: State,
    places: OutputPaths,
    options: TableOptions | None = None,
) -> Iterator[tuple[Path, Write]]:
    """Yield the path of each file of an ended batch, and a function that writes it.

    A table has all results, so there is no error file beside it.
    """
    final, batch = outcome_of(state), state.batch
    table = batch.table if options is None else options
    merged = MergedRows(ledger, state) if batch.merge else None
    if table.make_tables(has_rows=batch.has_rows):
        if places.jsonl:
            write = partial(write_json_table, ledger, state)
            yield places.jsonl, lambda sink: write(sink, table, merged)
    elif merged is not None:
        yield from _merged_lines(merged, places, table)
    else:
        if places.jsonl:
            yield places.jsonl, _copy(ledger, final.output_file_id, final.output_bytes)
        if places.errors and final.error_file_id and not table.only_completed:
            yield places.errors, _copy(ledger, final.error_file_id, final.error_bytes)
    if places.parquet:
        yield places.parquet, _parquet(ledger, state, table, merged)


def _merged_lines(
    rows: MergedRows, places: OutputPaths, table: TableOptions
) -> Iterator[tuple[Path, Write]]:
    """Do the same for the lines of a retry and of the batches that it repeats."""

    def lines(*, completed: bool) -> Iterator[bytes]:
        return (row.result + b"\n" for row in rows if row.completed == completed)

    if places.jsonl:
        yield places.jsonl, lambda sink: sink.writelines(lines(completed=True))
    if places.errors and not table.only_completed and any(lines(completed=False)):
        yield places.errors, lambda sink: sink.writelines(lines(completed=False))


def _parquet(
    ledger: Ledger, state: State, table: TableOptions, merged: MergedRows | None
) -> Write:
    """Return a function that copies the stored Parquet file, or writes another."""
    stored = None
    if merged is None and table == state.batch.table:
        stored = parquet_file_id(ledger, outcome_of(state))
    if stored is not None:
        return _copy(ledger, stored, outcome_of(state).parquet_bytes)
    return lambda sink: write_parquet(ledger, state, sink, table, merged)


def _copy(ledger: Ledger, file_id: str | None, size: int) -> Write:
    """Return a function that copies a stored file; without one, it copies nothing."""

    def write(sink: BinaryIO | RawIOBase) -> None:
        if file_id is None:
            return
        copied = 0
        for chunk in ledger.storage.stream(ledger.keys.content(file_id)):
            sink.write(chunk)
            copied += len(chunk)
        if copied != size:
            message = f"`{file_id}` has {copied:,} bytes instead of {size:,}"
            raise CorruptObjectError(message)

    return write


class _Partial:
    """A hidden file beside its target, moved there when complete, else removed."""

    def __init__(self, path: Path, hint: str) -> None:
        self._path = path
        self._hint = hint
        self._target = Path(os.path.realpath(path))  # a symbolic link is kept
        self._file = self._target.with_name(f".batchchat-{uuid4().hex}")

    def __enter__(self) -> Self:
        with _translate_errors(self._path, self._hint):
            if self._target.exists() and not self._target.is_file():
                message = (
                    f"can't write the results to `{self._path}`: not a regular file"
                )
                raise OutputError(message, hint=self._hint)
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch(exist_ok=False)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def fill(self, write: Write) -> None:
        """Write the file and sync it to disk."""
        with _translate_errors(self._path, self._hint), self._file.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())

    def move(self) -> None:
        """Move the file to its target."""
        with _translate_errors(self._path, self._hint):
            self._file.replace(self._target)


@contextmanager
def _translate_errors(path: Path, hint: str) -> Iterator[None]:
    """Raise errors of the operating system as `OutputError`, with the path."""
    try:
        yield
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is in the way" if in_the_way else error.strerror or str(error)
        message = f"can't write the results to `{path}`: {reason}"
        raise OutputError(message, hint=hint) from error
