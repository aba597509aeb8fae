"""The records of a CSV file, with the numbers of their rows and lines."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.requests.csv_text import (
    EXCEL_DELIMITER,
    MAX_FIELD_CHARS,
    csv_lines,
)
from batchchat.jobs.rows.row_errors import row_error
from batchchat.jobs.rows.text_file import TextFile

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
            csv_lines(text), delimiter=self.delimiter, doublequote=True, strict=True
        )
        row = line = 0
        try:
            for fields in reader:
                is_dialect = line == 0 and EXCEL_DELIMITER.fullmatch(
                    self.delimiter.join(fields)
                )
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
