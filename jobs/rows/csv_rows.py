"""Rows of a CSV or TSV file, with a header."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from typing_extensions import override

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.rows.csv_records import CsvRecords, Record
from batchchat.jobs.rows.row_errors import listed, row_error
from batchchat.jobs.rows.row_reader import RowReader
from batchchat.jobs.rows.text_file import TextFile

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 4_096
_BATCH_CHARS = 4 * 1024 * 1024

_INT = re.compile(r"0|-?[1-9][0-9]{0,17}|")
_FLOAT = re.compile(
    r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?([eE](\+?[0-9]{1,2}|-[0-9]{1,3}))?|"
)
_BOOL = re.compile(r"true|false|True|False|TRUE|FALSE|")
_PATTERNS = {"int64": _INT, "float64": _FLOAT, "bool": _BOOL}
"""Types of columns, the narrowest first, and their values; all others are text.

Numbers with leading zeros, as in postal codes, longer numbers and dates are text.
"""


class CsvRows(RowReader):
    """Reads the file once for the types of its columns, and again for each pass.

    Empty fields are null, except in columns of text.
    """

    def __init__(self, file: TextFile, delimiter: str) -> None:
        """Read the header. Raises `InputFileError`."""
        self._name = file.name
        self._records = CsvRecords(file, delimiter)
        self._names = self._header()

    @property
    @override
    def schema(self) -> "pa.Schema":
        import pyarrow as pa

        return pa.schema(
            {
                name: pa.type_for_alias(kind)
                for name, kind in zip(self._names, self._types, strict=True)
            }
        )

    @override
    def batches(self) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa

        schema = self.schema
        for columns in self._blocks():
            try:
                arrays = [
                    _array(values, field.type)
                    for values, field in zip(columns, schema, strict=True)
                ]
            except pa.ArrowException:
                raise self._records.file.changed() from None
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    @cached_property
    def _types(self) -> list[str]:
        """The narrowest type of each column that holds all its values."""
        types = [list(_PATTERNS) for _ in self._names]
        is_empty = [True] * len(types)
        for columns in self._blocks():
            for at, values in enumerate(columns):
                is_empty[at] &= not any(values)
                types[at] = [one for one in types[at] if _holds(one, values)]
        return [
            kinds[0] if kinds and not empty else "string"
            for kinds, empty in zip(types, is_empty, strict=True)
        ]

    def _header(self) -> list[str]:
        record = next(iter(self._records), None)
        first = record.fields if record else []
        names = [name.strip() or f"column_{at}" for at, name in enumerate(first, 1)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputFileError(
                f"the header of `{self._name}` has several columns with the name"
                f" {listed(twice)}",
                hint="give each column a name of its own",
            )
        return names

    def _blocks(self) -> Iterator[list[tuple[str, ...]]]:
        """Yield the columns of a few rows at a time."""
        rows: list[list[str]] = []
        size = 0
        for record in islice(self._records, 1, None):
            self._check_length(record)
            rows.append(record.fields)
            size += sum(map(len, record.fields))
            if len(rows) == _BATCH_ROWS or size >= _BATCH_CHARS:
                yield list(zip(*rows, strict=True))
                rows, size = [], 0
        if rows:
            yield list(zip(*rows, strict=True))

    def _check_length(self, record: Record) -> None:
        found, expected = len(record.fields), len(self._names)
        if found != expected:
            fields = "1 field" if found == 1 else f"{found:,} fields"
            raise row_error(
                self._name,
                record.row,
                f"it has {fields}, and the header has {expected:,}",
                line=record.line,
                hint="quote fields that contain the delimiter or line breaks",
            )


def _holds(kind: str, values: Sequence[str]) -> bool:
    """Return whether a column of a type can have these values."""
    return all(map(_PATTERNS[kind].fullmatch, values))


def _array(values: Sequence[str], kind: "pa.DataType") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pa.array(values, pa.string())
    if pa.types.is_string(kind):
        return text
    return pc.if_else(pc.equal(text, ""), None, text).cast(kind)
