"""The records of a CSV file, with the numbers of their rows and lines."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import NamedTuple

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.rows.row_errors import row_error
from batchchat.jobs.rows.text_file import TextFile

MAX_FIELD_CHARS = 16 * 1024 * 1024
csv.field_size_limit(MAX_FIELD_CHARS)

_DELIMITERS = ("\t", ",", ";", "|")
_EXCEL = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
"""A first line with which Excel names the delimiter."""

_SAMPLE_ROWS = 20
_NO_TEXT = re.compile("[\udc80-\udcff]")
"""What Python makes of bytes that are not UTF-8."""

_QUOTES = "quote fields that contain quotes, delimiters or line breaks, and double"
_QUOTES += ' their quotes: `"a ""b"" c"`'


class Record(NamedTuple):
    """The fields of a row; `row` is 0 for the header, `line` that where it begins."""

    row: int
    line: int
    fields: list[str]


@dataclass(frozen=True)
class CsvRecords:
    """The records of a file that are not empty; the first one is the header."""

    file: TextFile
    delimiter: str

    def __iter__(self) -> Iterator[Record]:
        """Yield the records, from the beginning. Raises `InputFileError`."""
        try:
            yield from self._records(self.file.text())
        except UnicodeError:
            raise self._wrong_encoding() from None

    def _records(self, text: Iterator[str]) -> Iterator[Record]:
        reader = csv.reader(
            _lines(text), delimiter=self.delimiter, doublequote=True, strict=True
        )
        row = line = 0
        try:
            for fields in reader:
                is_dialect = line == 0 and _EXCEL.fullmatch(self.delimiter.join(fields))
                if fields and not is_dialect:
                    yield Record(row, line + 1, fields)
                    row += 1
                line = reader.line_num
        except csv.Error as error:
            raise self._malformed(row, line + 1, error) from None

    def _malformed(self, row: int, line: int, error: csv.Error) -> InputFileError:
        text = str(error)
        if text.startswith("unexpected end") or "field limit" in text:
            reason = "a quote is opened and not closed, or a field is longer than"
            reason += f" {MAX_FIELD_CHARS:,} characters"
        else:
            reason = f"a quoted field is followed by other text ({text})"
        where = (self.file.name, max(row, 1), reason)
        return row_error(*where, line=line, hint=_QUOTES)

    def _wrong_encoding(self) -> InputFileError:
        """Find the first row that is not text."""
        if not self.file.is_utf8:
            return self.file.wrong_encoding()
        names: list[str] = []
        for row, line, fields in self._records(self.file.text("surrogateescape")):
            names = names or fields
            for at, field in enumerate(fields):
                if found := _NO_TEXT.search(field):
                    return self._bad_byte(row, line, names[at : at + 1], found[0])
        return self.file.wrong_encoding()

    def _bad_byte(
        self, row: int, line: int, column: list[str], escaped: str
    ) -> InputFileError:
        byte = ord(escaped) - 0xDC00
        return row_error(
            self.file.name,
            max(row, 1),
            f"the byte 0x{byte:02x} is not UTF-8",
            column=column[0] if column and row else None,
            line=line,
            hint="convert the file, for example from Latin-1:"
            " `iconv -f WINDOWS-1252 -t UTF-8 FILE > rows.csv`",
        )


def _lines(text: Iterator[str]) -> Iterator[str]:
    """Yield lines that end with a line feed, a carriage return, or both."""
    rest = ""
    for piece in text:
        lines = StringIO(rest + piece, newline="").readlines()
        rest = lines.pop() if lines else ""
        yield from lines
        if len(rest) > MAX_FIELD_CHARS:
            raise csv.Error("field larger than field limit")
    if rest:
        yield rest


def delimiter_of(head: str, name: str, *, is_whole: bool) -> str | None:
    """Return the delimiter of a file that starts with `head`; None if it is no CSV.

    Only the extension of its `name` tells a file with one column from other text.
    """
    if found := _EXCEL.match(head):
        return found[1]
    is_named_csv = re.search(r"\.[ct]sv(\.|$)", name, re.IGNORECASE) is not None
    lengths = {one: _lengths(head, one, is_whole=is_whole) for one in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda delimiter: _fit(lengths[delimiter]))
    is_table = _fit(lengths[best]) > 0 and (is_named_csv or len(lengths[best]) > 1)
    if is_table:
        return best
    return "," if is_named_csv else None


def _lengths(head: str, delimiter: str, *, is_whole: bool) -> list[int]:
    """Return how many fields each of the first rows has."""
    reader = csv.reader(_lines(iter([head])), delimiter=delimiter)
    found: list[int] = []
    try:
        for fields in reader:
            found += [len(fields)] if fields else []
    except csv.Error:
        return found[:_SAMPLE_ROWS]
    return found[:_SAMPLE_ROWS] if is_whole else found[:-1][:_SAMPLE_ROWS]


def _fit(lengths: list[int]) -> float:
    """Return how many fields the rows have, 0 unless most rows have the same number."""
    if not lengths or lengths[0] == 1:
        return 0
    same = lengths.count(lengths[0]) / len(lengths)
    return lengths[0] * same if same > 0.5 else 0  # noqa: PLR2004 - most of them
