"""A file of text: its encoding, and its text in pieces."""

import codecs
from collections.abc import Iterator

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.requests.line_reader import BOM
from batchchat.jobs.rows.row_reader import SeekableBinary

_BLOCK_BYTES = 256 * 1024

_BY_START = {
    BOM: "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


class TextFile:
    """Decodes a file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark."""

    def __init__(self, file: SeekableBinary, name: str, head: bytes) -> None:
        """`head` are the first bytes of `file`."""
        self.name = name
        self.encoding = _encoding(head)
        self.head = self._decoder("replace").decode(head)
        self._file = file

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes of the file are UTF-8, but for a byte order mark."""
        return self.encoding.startswith("utf-8")

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes of the whole file."""
        self._file.seek(0)
        return iter(lambda: self._file.read(_BLOCK_BYTES), b"")

    def text(self, errors: str = "strict") -> Iterator[str]:
        """Yield the text of the whole file, without a byte order mark.

        Raises:
            UnicodeDecodeError: with `strict`, a part of the file is no text.

        """
        decoder = self._decoder(errors)
        for block in self.blocks():
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)

    def _decoder(self, errors: str) -> codecs.IncrementalDecoder:
        return codecs.getincrementaldecoder(self.encoding)(errors)

    def utf8_blocks(self) -> Iterator[bytes]:
        """Yield the text as UTF-8. Raises `InputFileError`."""
        if self.is_utf8:
            yield from self.blocks()
            return
        try:
            for text in self.text():
                yield text.encode()
        except UnicodeError:
            raise self.wrong_encoding() from None

    def changed(self) -> InputFileError:
        """Return the error of a file with other values than when it was read first."""
        return InputFileError(
            f"`{self.name}` changed while it was read",
            hint="read it again when no program is writing to it",
        )

    def wrong_encoding(self) -> InputFileError:
        """Return the error of a file whose encoding is not what its start says."""
        return InputFileError(
            f"`{self.name}` begins like {self.encoding.upper()} text and is damaged",
            hint="copy it again, or save it as UTF-8",
        )


def _encoding(head: bytes) -> str:
    for start, encoding in _BY_START.items():
        if head.startswith(start):
            return encoding
    if head[:4].count(0) == 3:  # noqa: PLR2004 - an ASCII character has three
        return "utf-32-le" if head[0] else "utf-32-be"
    if head[:2].count(0) == 1:
        return "utf-16-le" if head[0] else "utf-16-be"
    return "utf-8"
