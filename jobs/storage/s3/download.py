"""Reading an object to its end, even where connections don't last that long."""

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
    *(ResponseParserError, ValueError),  # of a head that was cut
)
_MAX_EMPTY_CONNECTIONS = 6
"""Connections in a row that may end without having brought anything."""

_FIRST_WAIT_SECONDS = 0.2

_FRAGMENT_BYTES = 256 * 1024
"""Bytes that a cut connection loses, at most."""


def download(
    client: Any, where: dict[str, str], offset: int, end: int | None
) -> Generator[bytes, None, None]:
    """Yield the object's bytes from `offset` to `end`, in pieces of any size.

    boto3 sends a request again, but reads an answer only once. Here the rest is asked
    for when a connection is cut, and taken if it is of the same object still: its
    ETag is compared, as not every server heeds `If-Match`.

    Raises:
        StorageError: the object was replaced meanwhile.

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
    """Return how many bytes the object has.

    By its first byte, as a head alone may be cut within the number, and who then
    reads that far takes the rest for missing.

    Raises:
        HTTPError: the connection was cut.

    """
    answer = _ask(client, where, {"Range": "bytes=0-0"}, "")
    if answer is None:  # there is no first byte
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
    """Return the answer, if its head has come to the end.

    A connection that is cut within the head leaves what came as if it were all: the
    body is then taken to be empty, and an object or a listing with it.

    Raises:
        HTTPError: it has no length, or no body that says what a page of a listing
            always says; botocore doesn't mind.

    """
    head = answer["ResponseMetadata"]["HTTPHeaders"]
    has_length = "content-length" in head or "transfer-encoding" in head
    if not has_length or (is_page and "IsTruncated" not in answer):
        if "Body" in answer:
            answer["Body"].close()
        raise HTTPError("the connection was cut within the head of an answer")
    return answer


def rechunked(fragments: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes in pieces of `CHUNK_BYTES`; the last one may be shorter."""
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
    """Return the answer, None where there are no such bytes."""
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
        raise StorageError(f"`{where['Key']}` was replaced while it was read")
    return answer


def _range(offset: int, end: int | None) -> dict[str, str]:
    if end is not None:
        return {"Range": f"bytes={offset}-{end - 1}"}
    return {"Range": f"bytes={offset}-"} if offset else {}
