"""Find the files that a user names: by path, folder, glob, URL, or stdin."""

import glob
import re
import sys
import weakref
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial
from itertools import zip_longest
from pathlib import Path, PurePath, PurePosixPath
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import BinaryIO, cast

import msgspec

from batchchat.cli.terminal.input_file import open_source
from batchchat.cli.terminal.paths import expand_user
from batchchat.jobs.errors import InputFileError
from batchchat.jobs.requests.decompression import plain_name
from batchchat.jobs.rows.hub_rows import SCHEME, open_hub_rows
from batchchat.jobs.rows.joined_tables import Table
from batchchat.jobs.rows.row_reader import RowReader, open_rows
from batchchat.jobs.settings import load_settings
from batchchat.jobs.storage import open_storage

_S3 = "s3://"
_WILDCARDS = frozenset("*?[")
_ENDINGS = (
    ".parquet",
    ".arrow",
    ".feather",
    ".ipc",
    ".jsonl",
    ".ndjson",
    ".json",
    ".csv",
    ".tsv",
)
_STATE, _SPLITS = "state.json", "dataset_dict.json"
_DESCRIPTIONS = {"dataset_info.json", "dataset_infos.json"}
"""Files that `datasets` writes beside the rows."""


def find_tables(sources: Sequence[str]) -> list[Table]:
    """Return the files that `sources` name, those of a folder or glob sorted by name.

    Raises:
        InputFileError: a source names no file.
        StorageError: a bucket can't be listed.

    """
    return [
        Table(name, partial(open_table, name))
        for source in sources
        for name in _names(source)
    ]


def open_table(name: str) -> RowReader:
    """Return a reader that closes its file with itself. Raises `InputFileError`."""
    if name.startswith(SCHEME):
        return open_hub_rows(name)
    file = _copy_of(sys.stdin.buffer) if name == "-" else open_source(name)
    try:
        reader = open_rows(file, name)
    except BaseException:
        file.close()
        raise
    weakref.finalize(reader, file.close)
    return reader


def _copy_of(stream: BinaryIO) -> BinaryIO:
    """Return a file with the rest of a stream, which can be read only once."""
    copy = cast("BinaryIO", TemporaryFile())  # noqa: SIM115 - the caller closes it
    copyfileobj(stream, copy)
    copy.seek(0)
    return copy


def _names(source: str) -> list[str]:
    if source == "-" or source.startswith(SCHEME):
        return [source]
    if source.startswith(_S3):
        return _names_in_bucket(source)
    path = expand_user(source)
    if path.is_dir():
        return _names_in_folder(path)
    if not _WILDCARDS.isdisjoint(source) and not path.exists():
        found = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute
        return _required([name for name in found if Path(name).is_file()], source)
    return [source]


def _required(names: list[str], source: str) -> list[str]:
    if names:
        return names
    is_glob = not _WILDCARDS.isdisjoint(source)
    reason = "no file matches" if is_glob else "there are no files of rows in"
    hint = f"files of rows end in {', '.join(_ENDINGS)}, also with .gz or .zst"
    raise InputFileError(f"{reason} `{source}`", hint=hint)


def _names_in_folder(folder: Path) -> list[str]:
    """Return the files of rows in a folder, or of a dataset that was saved there."""
    if (folder / _SPLITS).is_file():
        splits = _saved(folder / _SPLITS).splits
        shown = ", ".join(f"`{folder / name}`" for name in splits)
        hint = f"choose one of its splits: {shown}"
        raise InputFileError(f"`{folder}` has several splits", hint=hint)
    if (folder / _STATE).is_file():
        files = _saved(folder / _STATE).data_files
        return _required([str(folder / file.filename) for file in files], str(folder))
    found = (path for path in folder.rglob("*") if path.is_file())
    inside = [path for path in found if _has_rows(path.relative_to(folder))]
    return _required(sorted(map(str, inside)), str(folder))


class _DataFile(msgspec.Struct):
    filename: str


class _SavedDataset(msgspec.Struct):
    """How `datasets` describes a folder: its files in order, or the folders within."""

    data_files: list[_DataFile] = msgspec.field(
        name="_data_files", default_factory=list
    )
    splits: list[str] = []


def _saved(path: Path) -> _SavedDataset:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_SavedDataset)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        hint = "save the dataset again with `save_to_disk`"
        raise InputFileError(f"`{path}` can't be read", hint=hint) from None


def _names_in_bucket(url: str) -> list[str]:
    """Return the objects below a prefix that ends with `/`, or those of a glob."""
    is_glob = not _WILDCARDS.isdisjoint(url)
    bucket, _, pattern = url.removeprefix(_S3).partition("/")
    if not is_glob and not url.endswith("/") and pattern:
        return [url]
    settings = load_settings()
    storage = open_storage(
        f"{_S3}{bucket}",
        s3_endpoint=settings.s3_endpoint,
        s3_path_style=settings.s3_path_style,
    )
    prefix = re.split(r"[*?[]", pattern, maxsplit=1)[0]
    found = [
        f"{_S3}{bucket}/{entry.key}"
        for entry in storage.list(prefix)
        if (_matches(entry.key, pattern) if is_glob else _is_below(entry.key, prefix))
    ]
    return _required(found, url)


def _is_below(key: str, prefix: str) -> bool:
    return _has_rows(PurePosixPath(key.removeprefix(prefix)))


def _matches(key: str, pattern: str) -> bool:
    """Return whether a key matches; only `**` matches more than one folder."""
    if "**" in pattern:
        return fnmatchcase(key, pattern.replace("**/", "*"))
    parts = zip_longest(key.split("/"), pattern.split("/"), fillvalue="")
    return all(fnmatchcase(name, part) for name, part in parts)


def _has_rows(path: PurePath) -> bool:
    """Return whether a file within a folder has rows, by its name."""
    is_hidden = any(part.startswith((".", "_")) for part in path.parts)
    is_row_file = plain_name(path.name).lower().endswith(_ENDINGS)
    return is_row_file and not is_hidden and path.name not in _DESCRIPTIONS
