"""Downloads that continue after the connection was cut."""

import re
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from botocore.exceptions import (
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from batchchat.jobs.errors import StorageError
from batchchat.jobs.storage.protocol import CHUNK_BYTES
from batchchat.jobs.storage.s3.errors import error_code

_CUT_ERRORS = (
    *(HTTPError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError),
    *(ResponseParserError, ValueError),  # raised for truncated response headers
)
_MAX_EMPTY_CONNECTIONS = 6
"""How many connections in a row may end without delivering any bytes."""

_FIRST_WAIT_SECONDS = 0.2

_WHOLE_ETAG = re.compile(r'(W/)?"[^"]*"|[^"]*')
"""A quoted ETag ends with its quote, unless the connection was cut within the header.
Some servers send one without quotes, or none."""

_FRAGMENT_BYTES = 256 * 1024
"""Size of a read, and so of what a cut connection loses at most."""


def download(
    client: Any, where: dict[str, str], offset: int, end: int | None
) -> Generator[bytes, None, None]:
    """Yield the object's bytes from `offset` to `end`, in pieces of any size.

    boto3 retries requests, but not the reading of a response. So the rest is requested
    again after a cut, and accepted only if the object still has the same ETag. That is
    compared here, since not every server supports `If-Match`.

    Raises:
        StorageError: the object was replaced during the download.

    """
    etag, cuts = "", 0
    while True:
        try:
            answer = _ask(client, where, _range(offset, end), etag)
            if answer is None:
                return
            etag = answer["ETag"]
            with closing(answer["Body"]) as body:
                while fragment := body.read(_FRAGMENT_BYTES):
                    offset += len(fragment)
                    cuts = 0
                    yield fragment
        except _CUT_ERRORS:
            cuts += 1
            if cuts == _MAX_EMPTY_CONNECTIONS:
                raise
        else:
            return
        time.sleep(_FIRST_WAIT_SECONDS * 2**cuts)


def size_of(client: Any, where: dict[str, str]) -> int:
    """Return the size of the object in bytes.

    It requests the first byte, not only the headers: if the connection is cut within
    the headers, the number in them may be truncated.

    Raises:
        HTTPError: the connection was cut.

    """
    answer = _ask(client, where, {"Range": "bytes=0-0"}, "")
    if answer is None:  # the object is empty
        return 0
    with closing(answer["Body"]) as body:
        size = int(answer.get("ContentRange", "").rpartition("/")[2] or -1)
        if size < 0:  # the server ignores ranges and sends the whole object
            size = int(answer["ContentLength"])
        if size and not body.read(1):
            raise HTTPError("the connection was cut before the first byte")
    return size


def checked_response(
    answer: dict[str, Any], *, is_page: bool = False
) -> dict[str, Any]:
    """Return the response if its headers are complete.

    botocore accepts headers that were cut off, and then takes the body, and with it
    the object or the listing, for empty.

    Raises:
        HTTPError: the response has no length or half an ETag, or is a page of a listing
            without the field that every page has.

    """
    head = answer["ResponseMetadata"]["HTTPHeaders"]
    is_whole = "content-length" in head or "transfer-encoding" in head
    is_whole &= _WHOLE_ETAG.fullmatch(answer.get("ETag", "")) is not None
    if not is_whole or (is_page and "IsTruncated" not in answer):
        if "Body" in answer:
            answer["Body"].close()
        raise HTTPError("the connection was cut within the response headers")
    return answer


def rechunked(fragments: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes in pieces of `CHUNK_BYTES`, of which the last may be shorter."""
    piece = bytearray()
    for fragment in fragments:
        piece += fragment
        while len(piece) >= CHUNK_BYTES:
            yield bytes(piece[:CHUNK_BYTES])
            del piece[:CHUNK_BYTES]
    if piece:
        yield bytes(piece)


def _ask(
    client: Any, where: dict[str, str], span: dict[str, str], etag: str
) -> dict[str, Any] | None:
    """Return the response, None if the range is empty."""
    answer: dict[str, Any] | None = None
    try:
        answer = checked_response(client.get_object(**where, **span))
        answer.setdefault("ETag", "")
    except ClientError as error:
        if error_code(error) not in {"InvalidRange", "416"}:
            raise
    if etag and (answer is None or answer["ETag"] != etag):
        if answer:
            answer["Body"].close()
        if answer and not answer["ETag"]:
            raise HTTPError("the connection was cut within the response headers")
        raise StorageError(f"`{where['Key']}` was replaced during the download")
    return answer


def _range(offset: int, end: int | None) -> dict[str, str]:
    if end is not None:
        return {"Range": f"bytes={offset}-{end - 1}"}
    return {"Range": f"bytes={offset}-"} if offset else {}
