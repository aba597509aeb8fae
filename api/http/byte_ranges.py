"""Responses with the bytes of an object, whole or a range (RFC 9110)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.responses import StreamingResponse

from batchchat.api.http.errors import ApiError
from batchchat.jobs.storage import Storage
from batchchat.jobs.storage.protocol import stream_range

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class ByteRange:
    """Bytes `first` to `last`, both inclusive, of an object of `size` bytes."""

    first: int
    last: int
    size: int

    @property
    def length(self) -> int:
        """The number of bytes in the range."""
        return self.last - self.first + 1


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the requested range, or None for the whole object.

    A header that is not a single byte range is ignored, as HTTP permits.

    Raises:
        ApiError: the range is outside the object (416).

    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        begin, end = max(0, size - int(last)), size - 1
    else:
        begin, end = int(first), min(int(last or size), size - 1)
    if first and last and int(first) > int(last):
        return None
    if begin > end:
        message = f"The requested range is outside the file, which has {size:,} bytes."
        headers = {"content-range": f"bytes */{size}"}
        raise ApiError(416, message, code="invalid_range", headers=headers)
    return ByteRange(begin, end, size)


def content_response(
    storage: Storage,
    key: str,
    size: int,
    range_header: str | None,
    headers: dict[str, str],
) -> StreamingResponse:
    """Return a response with the object, or with the range in `range_header`."""
    span = parse_range(range_header, size)
    status = 200
    headers = {"accept-ranges": "bytes", "content-length": f"{size}", **headers}
    if span is not None:
        status = 206
        headers["content-length"] = f"{span.length}"
        headers["content-range"] = f"bytes {span.first}-{span.last}/{span.size}"
    chunks: Iterator[bytes] = (
        stream_range(storage, key, span.first, span.length)
        if span
        else storage.stream(key)
    )
    return StreamingResponse(
        chunks, status, headers, media_type="application/octet-stream"
    )
