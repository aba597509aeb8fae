"""Rows of a JSON file: objects on lines, in an array, or one after the other."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from typing_extensions import override

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.requests.line_reader import BOM
from batchchat.jobs.rows.json_kinds import (
    NULL,
    Kind,
    arrow_type,
    column_of,
    kind_of,
    widest,
)
from batchchat.jobs.rows.json_texts import JsonText, texts_of_lines, texts_of_values
from batchchat.jobs.rows.row_errors import row_error
from batchchat.jobs.rows.row_reader import RowReader
from batchchat.jobs.rows.text_file import TextFile

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 1_024
_BATCH_BYTES = 4 * 1024 * 1024
"""Size of the JSON of a batch, whose objects take several times as much memory."""

_MAX_COLUMNS = 10_000


class JsonRows(RowReader):
    """Reads the file once for its schema, and again for each pass over its rows."""

    def __init__(self, file: TextFile, head: bytes) -> None:
        """`head` are the first bytes of the text, in UTF-8."""
        self._file = file
        self._texts = texts_of_lines if _is_lines(head) else texts_of_values

    @property
    @override
    def schema(self) -> "pa.Schema":
        return self._schema

    @cached_property
    def _schema(self) -> "pa.Schema":
        import pyarrow as pa

        return pa.schema({name: arrow_type(one) for name, one in self._kinds.items()})

    @override
    def batches(self) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa

        schema, kinds = self._schema, self._kinds.items()
        for rows in self._blocks():
            try:
                found = {key for row in rows for key in row}
                columns = [
                    column_of([row.get(name) for row in rows], kind)
                    if name in found
                    else pa.nulls(len(rows), field.type)
                    for field, (name, kind) in zip(schema, kinds, strict=True)
                ]
            except (pa.ArrowException, LookupError, TypeError):
                raise self._file.changed() from None
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        """The columns of all rows, in the order in which they appear."""
        kinds: dict[str, Kind] = {}
        for rows in self._blocks():
            for name, values in _values_by_key(rows).items():
                kinds[name] = widest(kinds.get(name, NULL), kind_of(values))
            if len(kinds) > _MAX_COLUMNS:
                raise InputFileError(
                    f"the rows of `{self._file.name}` have more than"
                    f" {_MAX_COLUMNS:,} different keys",
                    hint="put the keys into one column, as an object",
                )
        return kinds

    def _blocks(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows in lists of bounded size. Raises `InputFileError`."""
        rows: list[dict[str, Any]] = []
        size = 0
        for number, text in enumerate(self._texts(self._file), 1):
            rows.append(self._decode(text, number))
            size += len(text.text)
            if len(rows) == _BATCH_ROWS or size >= _BATCH_BYTES:
                yield rows
                rows, size = [], 0
        if rows:
            yield rows

    def _decode(self, text: JsonText, row: int) -> dict[str, Any]:
        try:
            value = msgspec.json.decode(text.text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            reason = _reason(error)
        else:
            if isinstance(value, dict):
                return value
            reason = f"it is {_KINDS.get(type(value), 'null')}, expected an object"
        raise row_error(self._file.name, row, reason, line=text.line, hint=_HINT)


def _values_by_key(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of each key, in time that depends on those alone."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        for key, value in row.items():
            found.setdefault(key, []).append(value)
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8: {error.reason}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"it is not valid JSON: {str(error).removeprefix('JSON is malformed: ')}"


_HINT = 'a row is an object such as `{"question": "…"}`; correct or remove it'
_KINDS = {
    str: "a string",
    list: "an array",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}


def _is_lines(head: bytes) -> bool:
    """Return whether each line is a value of its own, by the first one."""
    text = head.removeprefix(BOM).lstrip()
    first, line_feed, _ = text.partition(b"\n")
    if text.startswith(b"[") or (not line_feed and b"\r" in text.rstrip()):
        return False
    try:
        msgspec.json.decode(first, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return not line_feed  # a long line, of which this is the beginning
    return True
