"""Parses multipart uploads while they arrive.

FastAPI's `UploadFile` spools the whole upload to the local disk before a route sees
it, so a large file would be written twice and limited by that disk. This parser passes
each chunk of the file on as soon as it arrives.
"""

from collections.abc import Iterator
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from batchchat.api.http.errors import ApiError
from batchchat.api.http.filenames import sent_filename

_MAX_FIELD_BYTES = 1_024
_MAX_PARTS = 16
_MAX_FILENAME_LENGTH = 255

FIELDS = frozenset({"purpose", "expires_after[anchor]", "expires_after[seconds]"})


class UploadForm:
    """An incremental parser for a form with one file and some fields."""

    def __init__(self, content_type: str) -> None:
        """Start parsing. Raises `ApiError` if the content type is not a form's."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise ApiError(
                415,
                "Uploads must be `multipart/form-data` with a boundary and the fields"
                " `file` and `purpose`.",
            )
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.is_complete = False
        self._parts = 0
        self._name = ""
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._field_value: bytearray | None = None
        self._file_chunks: list[bytes] = []
        callbacks: Any = {
            "on_part_begin": self._on_part_begin,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _form_error(error) from None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Parse the next part of the body; yield the chunks of the file in it."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _form_error(error) from None
        yield from self._file_chunks
        self._file_chunks.clear()

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise ApiError(400, f"The form has more than {_MAX_PARTS} fields.")
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        """Determine whether this part is the file or a field."""
        disposition = self._headers.get(b"content-disposition", b"")
        _, options = parse_options_header(_decode_latin1(disposition))
        self._name = _decode_utf8(options.get(b"name", b""), "the form")
        if self._name == "file":
            if self.filename is not None:
                raise ApiError(
                    400, "The form must have exactly one field 'file'.", param="file"
                )
            self._field_value = None
            self.filename = _filename(disposition, options)
        elif self._name in FIELDS:
            self._field_value = bytearray()
        else:
            name = self._name[:80]
            raise ApiError(
                400,
                f"Unknown parameter: '{name}'.",
                param=name,
                code=_UNKNOWN_PARAMETER,
            )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field_value is None:
            self._file_chunks.append(data[start:end])
            return
        self._field_value += data[start:end]
        if len(self._field_value) > _MAX_FIELD_BYTES:
            message = f"Invalid value for '{self._name}': it exceeds"
            message += f" {_MAX_FIELD_BYTES:,} bytes."
            raise ApiError(400, message, param=self._name, code="invalid_value")

    def _on_part_end(self) -> None:
        if self._field_value is not None:
            self.fields[self._name] = _decode_utf8(bytes(self._field_value), self._name)

    def _on_end(self) -> None:
        self.is_complete = True


_UNKNOWN_PARAMETER = "unknown_parameter"


def _decode_latin1(header: bytes) -> str:
    return header.decode("latin-1")


def _filename(disposition: bytes, options: dict[bytes, bytes]) -> str:
    """Return the name of the uploaded file. Raises `ApiError` if it is not valid."""
    try:
        name = sent_filename(disposition, options.get(b"filename"))
    except ValueError:
        message = "Invalid value for 'file': the filename is not valid UTF-8."
        raise ApiError(400, message, param="file", code="invalid_value") from None
    if name is None:
        message = "Invalid value for 'file': the form field needs a `filename`."
        raise ApiError(400, message, param="file", code="invalid_value")
    return _validated_filename(name)


def _validated_filename(filename: str) -> str:
    """Return the filename. Raises `ApiError` if it is no name or is not printable."""
    bad = (
        not filename
        or len(filename) > _MAX_FILENAME_LENGTH
        or not filename.isprintable()
        or filename in {".", ".."}
    )
    if bad:
        raise ApiError(
            400,
            "Invalid value for 'file': the filename must have 1 to"
            f" {_MAX_FILENAME_LENGTH} printable characters, and not be a directory.",
            param="file",
            code="invalid_value",
        )
    return filename


def _decode_utf8(raw: bytes, param: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        message = f"Invalid value for '{param}': not valid UTF-8."
        raise ApiError(400, message, param=param, code="invalid_value") from None


def _form_error(error: Exception) -> ApiError:
    return ApiError(400, f"Invalid multipart form: {error}.", code="invalid_form")
