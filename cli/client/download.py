"""Download files, and continue where a connection broke."""

import re
from collections.abc import Iterator
from io import RawIOBase
from typing import BinaryIO
from urllib.parse import quote

import httpx

from batchchat.cli.client.http_client import ServerClient
from batchchat.cli.client.transfer_progress import Transfer
from batchchat.jobs.errors import ServerError
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.requests.line_reader import split_lines
from batchchat.jobs.rows.column_names import join_names

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


def file_chunks(
    server: ServerClient, file_id: str, transfer: Transfer
) -> Iterator[bytes]:
    """Yield the bytes of a file; request the rest when a connection breaks.

    Raises:
        ServerError: the server stays unavailable.

    """
    done, total, retries = 0, None, server.retry_budget()
    while total is None or done < total:
        headers = {"range": f"bytes={done}-"} if done else {}
        try:
            with server.stream(
                "GET", f"{file_path(file_id)}/content", headers=headers
            ) as response:
                total = _total_size(response, done, server.url)
                if not done:
                    transfer.start(total)
                for chunk in transfer.counted(response.iter_raw()):
                    done += len(chunk)
                    retries.reset()
                    yield chunk
        except ServerError as error:
            retries.wait(error)


def result_lines(server: ServerClient, batch_id: str, **params: str) -> Iterator[bytes]:
    """Yield the finished results of a batch that may be running, line by line."""
    with server.stream("GET", f"batches/{batch_id}/results", params=params) as response:
        yield from split_lines(response.iter_raw())


def table_params(format_: str, table: TableOptions) -> dict[str, str]:
    """Return the query of a table in the format `table` (JSON lines) or `parquet`."""
    params = {
        "format": format_,
        "response": "true" if table.response else "false",
        "only": "completed" if table.only_completed else "all",
    }
    if table.columns is not None:
        params["columns"] = join_names(table.columns)
    return params


def fetch_table(
    server: ServerClient,
    batch_id: str,
    sink: BinaryIO | RawIOBase,
    transfer: Transfer,
    params: dict[str, str],
) -> None:
    """Write the table of an ended batch's results to `sink`; see `table_params`.

    The server generates the file for each request, so a broken download starts over.
    """

    def fetch() -> None:
        sink.seek(0)
        sink.truncate()
        with server.stream(
            "GET",
            f"batches/{batch_id}/results",
            params=params,
            is_slow=True,
        ) as response:
            length = response.headers.get("content-length", "")
            transfer.start(int(length) if length.isdigit() else None)
            sink.writelines(transfer.counted(response.iter_raw()))

    server.retry_while_unavailable(fetch)


def _total_size(response: httpx.Response, begin: int, url: str) -> int:
    """Return the size of the whole file, of which `response` starts at `begin`."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if found and int(found[1]) == begin:
        return int(found[2])
    length = response.headers.get("content-length", "")
    if begin == 0 and response.status_code == httpx.codes.OK and length.isdigit():
        return int(length)
    raise ServerError(
        f"the server at {url} sent part of a file without a valid Content-Range"
    )


def file_path(file_id: str) -> str:
    """Return the path of a file whose id a server has sent."""
    return f"files/{quote(file_id, safe='')}"
