"""Writes a dataset to a folder, which appears complete or not at all.

It is written to a hidden folder beside its place and then renamed. A run that was
killed leaves that hidden folder, which the next one replaces.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from batchchat.jobs.dataset.card import dataset_card
from batchchat.jobs.dataset.parts import PART_BYTES, write_parts
from batchchat.jobs.errors import OutputError
from batchchat.jobs.ledger.batch_object import BatchObject

CARD = "README.md"
_DATA = "data"
_OPTION = "`--dataset`"
_OTHER = f"choose another folder with {_OPTION}"

WriteParquet = Callable[[Path], object]
"""Writes the results to a Parquet file."""


def check_place(folder: Path, *, force: bool) -> None:
    """Check that a dataset may be written to a folder.

    Raises:
        OutputError: it exists; with `force`, it is not a dataset that was written here.

    """
    if not (folder.exists() or folder.is_symlink()):
        return
    if not force:
        raise OutputError(
            f"can't write the dataset to `{folder}`: it exists",
            hint=f"{_OTHER}, or replace a dataset with `--force`",
        )
    if not _is_dataset(folder):
        raise OutputError(
            f"can't replace `{folder}`: it contains other files than a dataset of"
            " batchchat",
            hint=_OTHER,
        )


def write_dataset(
    folder: Path,
    batch: BatchObject,
    write_parquet: WriteParquet,
    *,
    force: bool = False,
    part_bytes: int = PART_BYTES,
) -> None:
    """Write the results of a batch and a dataset card to a folder.

    Raises:
        OutputError: the folder exists, or can't be written.

    """
    check_place(folder, force=force)
    partial = folder.with_name(f".{folder.name}.batchchat-partial")
    old = folder.with_name(f".{folder.name}.batchchat-old")
    try:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            _fill(partial, batch, write_parquet, part_bytes)
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
            _sync(folder.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"can't write the dataset to `{folder}`: {reason}"
        raise OutputError(message, hint=_OTHER) from error


def _fill(
    partial: Path, batch: BatchObject, write_parquet: WriteParquet, part_bytes: int
) -> None:
    whole = partial / "results.parquet"
    write_parquet(whole)
    rows = write_parts(whole, partial / _DATA, part_bytes)
    whole.unlink()
    (partial / CARD).write_text(dataset_card(batch, rows), "utf-8")
    for path in (*sorted((partial / _DATA).iterdir()), partial / CARD):
        _sync(path)
    _sync(partial / _DATA)
    _sync(partial)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_dataset(folder: Path) -> bool:
    """Return whether a folder has what `write_dataset` writes, and nothing else."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    data = folder / _DATA
    parts = [path.name for path in data.iterdir()] if data.is_dir() else []
    return names <= {CARD, _DATA} and all(
        name.startswith("train-") and name.endswith(".parquet") for name in parts
    )
