"""Read the finished results of a batch that a server runs."""

from collections.abc import Iterator

import msgspec
from typing_extensions import override

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.protocol import ResultSource
from batchchat.cli.client.download import result_lines, table_params
from batchchat.cli.client.http_client import ServerClient
from batchchat.jobs.ledger.table_options import TableOptions


class _Response(msgspec.Struct):
    status_code: int


class _Line(msgspec.Struct):
    """OpenAI's line, or one of a table, which has a status."""

    response: _Response | None = None
    status: str | None = None

    @property
    def completed(self) -> bool:
        if self.status is not None:
            return self.status == "completed"
        return self.response is not None and self.response.status_code == 200  # noqa: PLR2004


_decoder = msgspec.json.Decoder(_Line)


class RemoteResults(ResultSource):
    """All finished results at once, or the next ones in input order."""

    def __init__(
        self, server: ServerClient, *, follow: bool, table: TableOptions | None
    ) -> None:
        """With `follow`, `new` yields what has been added since the last call.

        The server skips results by their number, so they must come in input order.
        Otherwise results behind an unfinished request are included.
        """
        self._server = server
        self._table = {} if table is None else table_params("table", table)
        self._follow = follow
        self._count = 0

    @override
    def new(self, view: View) -> Iterator[tuple[bool, bytes]]:
        params = self._table | (
            {"after": str(self._count)} if self._follow else {"partial": "true"}
        )
        for line in result_lines(self._server, view.batch.id, **params):
            self._count += 1
            yield _decoder.decode(line).completed, line.rstrip(b"\n") + b"\n"
