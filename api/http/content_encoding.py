"""Request bodies that are compressed with gzip (`Content-Encoding`)."""

from collections.abc import AsyncIterator

from anyio import to_thread
from fastapi import Request

from batchchat.api.http.errors import ApiError
from batchchat.jobs.requests.gzip_decoder import GzipDecoder


async def decoded(
    request: Request, body: AsyncIterator[bytes], max_bytes: int
) -> AsyncIterator[bytes]:
    """Yield the decoded `body` of a request; one without encoding as it is.

    Decompresses in a thread, in pieces of bounded size. `max_bytes` limits a
    compressed body after decompression.

    Raises:
        ApiError: the encoding is unknown, or the body is damaged or too large.

    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        async for data in body:
            yield data
    elif encoding in {"gzip", "x-gzip"}:
        size = 0
        async for piece in _decompress(body):
            size += len(piece)
            if size > max_bytes:
                message = f"The request body decompresses to more than {max_bytes:,}"
                raise ApiError(413, f"{message} bytes.", code="body_too_large")
            yield piece
    else:
        message = f"Unsupported Content-Encoding: '{encoding[:80]}'."
        message += " Use `gzip`, or send the body uncompressed."
        raise ApiError(415, message, code="unsupported_encoding")


async def _decompress(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    decoder = GzipDecoder()
    try:
        async for data in body:
            pieces = decoder.feed(data)
            while piece := await to_thread.run_sync(next, pieces, b""):
                yield piece
        for piece in decoder.finish():
            yield piece
    except (EOFError, ValueError):
        message = "The request body is not valid gzip, as its Content-Encoding says."
        raise ApiError(400, message, code="invalid_encoding") from None
