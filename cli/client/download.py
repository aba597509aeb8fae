"""Fetches what the server has, also where no connection lasts that long."""

import re
from collections.abc import Iterator
from io import RawIOBase
from typing import BinaryIO

import httpx

from batchchat.cli.client.http_client import Server
from batchchat.cli.client.transfer_progress import Transfer
from batchchat.jobs.errors import ServerError

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


def file_chunks(server: Server, file_id: str, transfer: Transfer) -> Iterator[bytes]:
    """Yield the bytes of a file; when a connection is cut the rest is asked for.

    Raises:
        ServerError: the server can't be reached for long.

    """
    done, total, patience = 0, None, server.patience()
    while total is None or done < total:
        headers = {"range": f"bytes={done}-"} if done else {}
        try:
            with server.stream(
                "GET", f"files/{file_id}/content", headers=headers
            ) as answer:
                total = _size(answer, done, server.url)
                if not done:
                    transfer.expect(total)
                for chunk in transfer.counted(answer.iter_raw()):
                    done += len(chunk)
                    patience.renew()
                    yield chunk
        except ServerError as error:
            patience.wait(error)


def fetch_parquet(
    server: Server,
    batch_id: str,
    sink: BinaryIO | RawIOBase,
    transfer: Transfer,
) -> None:
    """Write a batch's results as Parquet; a connection that is cut begins them again.

    The server makes the file anew each time, so there is no place to go on from.
    """

    def fetch() -> None:
        sink.seek(0)
        sink.truncate()
        with server.stream(
            "GET",
            f"batches/{batch_id}/results",
            params={"format": "parquet"},
            slow=True,
        ) as answer:
            transfer.expect(_size(answer, 0, server.url))
            sink.writelines(transfer.counted(answer.iter_raw()))

    server.insist(fetch)


def _size(answer: httpx.Response, begin: int, url: str) -> int:
    """Return the size of the whole of which `answer` brings the bytes from `begin`."""
    found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if found and int(found[1]) == begin:
        return int(found[2])
    length = answer.headers.get("content-length", "")
    if begin == 0 and answer.status_code == httpx.codes.OK and length.isdigit():
        return int(length)
    raise ServerError(
        f"the server at {url} does not say which bytes of a file it sends"
    )
