"""Find the rows of a JSON file: one per line, the items of an array, or a sequence."""

import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from typing import NamedTuple

from batchchat.jobs.requests.line_reader import iter_lines
from batchchat.jobs.rows.row_errors import row_error
from batchchat.jobs.rows.text_file import TextFile

MAX_ROW_BYTES = 16 * 1024 * 1024

_BETWEEN = re.compile(r"[\s,]*")
_TOO_LONG = f"it is longer than {MAX_ROW_BYTES:,} bytes"


class JsonText(NamedTuple):
    """The text of a row; `line` is where it is, if known."""

    text: bytes
    line: int | None


def texts_of_lines(file: TextFile) -> Iterator[JsonText]:
    """Yield the lines that are not empty. Raises `InputFileError`."""
    row = 0
    for line in iter_lines(file.utf8_blocks(), MAX_ROW_BYTES):
        if line.raw is None:
            hint = "shorten it, or leave the row out"
            raise row_error(file.name, row + 1, _TOO_LONG, line=line.number, hint=hint)
        if line.raw.strip():
            row += 1
            yield JsonText(line.raw, line.number)


def texts_of_values(file: TextFile) -> Iterator[JsonText]:
    """Yield the items of an array, or values that follow one another.

    Space and commas between them are skipped. Raises `InputFileError`.
    """
    try:
        for text in _Values(file):
            yield JsonText(text.encode(), None)
    except UnicodeError:
        raise file.wrong_encoding() from None


class _Values:
    """Splits text into JSON values; holds one value and the last piece of text."""

    def __init__(self, file: TextFile) -> None:
        self._name = file.name
        self._pieces = file.text()
        self._text = ""
        self._at = 0
        self._row = 0

    def __iter__(self) -> Iterator[str]:
        is_array = self._skip() and self._text[self._at] == "["
        self._at += is_array
        while self._skip():
            if is_array and self._text[self._at] == "]":
                self._at += 1
                if self._skip():
                    raise self._error("the file continues after the end of its array")
                return
            self._row += 1
            end = self._end_of_value()
            yield self._text[self._at : end]
            self._at = end
        if is_array:
            raise self._error("the file ends within its array")

    def _skip(self) -> bool:
        """Move to the next value; return False at the end of the file."""
        while True:
            found = _BETWEEN.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return True
            if not self._read():
                return False

    def _read(self) -> bool:
        """Read more text; return False at the end of the file."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._text = self._text[self._at :] + piece
        self._at = 0
        return True

    def _end_of_value(self) -> int:
        while True:
            try:
                return _DECODER.raw_decode(self._text, self._at)[1]
            except JSONDecodeError as error:
                reason = f"invalid JSON: {error.msg[:1].lower()}{error.msg[1:]}"
            except RecursionError:
                raise self._error("it is nested too deeply") from None
            if len(self._text) - self._at > MAX_ROW_BYTES:
                raise self._error(f"{reason}, or {_TOO_LONG}")
            if not self._read():
                raise self._error(reason)

    def _error(self, reason: str) -> Exception:
        return row_error(self._name, max(1, self._row), reason, hint=_CHECK)


_CHECK = "check the file with `jq . FILE > /dev/null`"
_DECODER = JSONDecoder(strict=False)
