"""Splits a Parquet file of results into parts of limited size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

PART_BYTES = 500_000_000
"""Size at which a part ends, as `datasets` writes them."""


def write_parts(source: Path, folder: Path, part_bytes: int = PART_BYTES) -> int:
    """Write the rows of a Parquet file as `train-00000-of-00002.parquet` and so on.

    A part has whole row groups of the file, and at least one. Holds one row group in
    memory. Returns the number of rows. Raises `OSError` if the disk is full.
    """
    from pyarrow import parquet

    folder.mkdir()
    with parquet.ParquetFile(source) as file:
        parts = [*_parts(file.metadata, part_bytes)]
        for number, groups in enumerate(parts):
            name = f"train-{number:05d}-of-{len(parts):05d}.parquet"
            _write_part(file, groups, folder / name)
        return int(file.metadata.num_rows)


def _write_part(file: Any, groups: list[int], path: Path) -> None:
    from pyarrow import parquet

    with parquet.ParquetWriter(path, file.schema_arrow, compression="zstd") as writer:
        for group in groups:
            writer.write_table(file.read_row_group(group))


def _parts(metadata: Any, part_bytes: int) -> Iterator[list[int]]:
    """Yield the row groups of each part; a file without rows has one empty part."""
    groups: list[int] = []
    size = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = range(group.num_columns)
        added = sum(group.column(it).total_compressed_size for it in columns)
        if groups and size + added > part_bytes:
            yield groups
            groups, size = [], 0
        groups.append(number)
        size += added
    yield groups
