"""The form of an upload, taken apart as its bytes come in.

FastAPI's own `UploadFile` writes the whole upload to this machine's disk before a
route sees it, so that 2 GB would be written twice and the disk be the limit. Here a
piece of the file is handed on as soon as it is there, and nothing is kept.
"""

from collections.abc import Iterator
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from batchchat.api.http.errors import ApiError

_FIELD_BYTES = 1_024
_PARTS = 16
_FILENAME = 255

FIELDS = frozenset({"purpose", "expires_after[anchor]", "expires_after[seconds]"})


class UploadForm:
    """One file with some fields around it; feed it with the body."""

    def __init__(self, content_type: str) -> None:
        """Raise `ApiError` unless the body is a form of the right kind."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise ApiError(
                415,
                "An upload is sent as `multipart/form-data` with a boundary,"
                " its bytes in the field `file` and `purpose` beside it.",
            )
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.is_whole = False
        self._parts = 0
        self._name = ""
        self._header = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._field: bytearray | None = None
        self._pieces: list[bytes] = []
        callbacks: Any = {
            "on_part_begin": self._begin_part,
            "on_part_data": self._take,
            "on_part_end": self._end_part,
            "on_header_field": self._take_header,
            "on_header_value": self._take_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _broken(error) from None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the pieces of the file that `data` has."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _broken(error) from None
        yield from self._pieces
        self._pieces.clear()

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise ApiError(400, f"The form has more than {_PARTS} parts.")
        self._headers = {}

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _end_headers(self) -> None:
        """See which part begins: the file or a field."""
        disposition = self._headers.get(b"content-disposition", b"")
        _, options = parse_options_header(_latin(disposition))
        self._name = _text(options.get(b"name", b""), "the form")
        if self._name == "file":
            if self.filename is not None:
                raise ApiError(400, "Only one file can be uploaded.", param="file")
            self._field = None
            self.filename = _checked(_raw_filename(disposition, options))
        elif self._name in FIELDS:
            self._field = bytearray()
        else:
            name = self._name[:80]
            raise ApiError(
                400, f"Unknown parameter: '{name}'.", param=name, code=_UNKNOWN
            )

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._pieces.append(data[start:end])
            return
        self._field += data[start:end]
        if len(self._field) > _FIELD_BYTES:
            message = f"Invalid value for '{self._name}': it is too long."
            raise ApiError(400, message, param=self._name, code="invalid_value")

    def _end_part(self) -> None:
        if self._field is not None:
            self.fields[self._name] = _text(bytes(self._field), self._name)

    def _end(self) -> None:
        self.is_whole = True


_UNKNOWN = "unknown_parameter"


def _latin(header: bytes) -> str:
    return header.decode("latin-1")


def _raw_filename(disposition: bytes, options: dict[bytes, bytes]) -> str:
    """Return the name as it was sent: the parser would cut off what is a path."""
    if b"filename" not in options:
        message = "The field 'file' must be a file with a name."
        raise ApiError(400, message, param="file", code="invalid_value")
    marker = b'filename="'
    at = disposition.find(marker)
    raw = options[b"filename"]
    if at >= 0:
        raw = disposition[at + len(marker) :].split(b'"')[0]
    return _text(raw, "file")


def _checked(filename: str) -> str:
    """Return a name that is no path and has nothing invisible in it."""
    bad = (
        not filename
        or len(filename) > _FILENAME
        or not filename.isprintable()
        or any(mark in filename for mark in "/\\")
        or filename in {".", ".."}
    )
    if bad:
        raise ApiError(
            400,
            "Invalid value for 'file': its name must be a plain name of up to"
            f" {_FILENAME} characters, without `/` and `\\`.",
            param="file",
            code="invalid_value",
        )
    return filename


def _text(raw: bytes, param: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        message = f"Invalid value for '{param}': it is not UTF-8."
        raise ApiError(400, message, param=param, code="invalid_value") from None


def _broken(error: Exception) -> ApiError:
    return ApiError(400, f"The form can't be read: {error}.", code="invalid_form")
