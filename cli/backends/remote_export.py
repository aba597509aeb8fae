"""Download the results of an ended batch from a server."""

from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

from batchchat.cli.client.download import (
    fetch_table,
    file_chunks,
    file_path,
    table_params,
)
from batchchat.cli.client.http_client import ServerClient
from batchchat.cli.client.transfer_progress import Transfer
from batchchat.jobs.errors import NotFoundError
from batchchat.jobs.ledger.batch_object import BatchObject
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.results.export import OutputPaths, Write


class Download:
    """The result files of one batch."""

    def __init__(
        self,
        server: ServerClient,
        batch: BatchObject,
        table: TableOptions | None,
        transfer: Transfer,
    ) -> None:
        """Download with the options `table`, or else those of the batch."""
        self._server = server
        self._batch = batch
        self._table = batch.table if table is None else table
        self._transfer = transfer

    def files(self, places: OutputPaths) -> Iterator[tuple[Path, Write]]:
        """Yield the path of each file, and a function that writes it."""
        batch, table = self._batch, self._table
        if places.jsonl and table.make_tables(has_rows=batch.has_rows):
            yield places.jsonl, self._write_table
        else:
            if places.jsonl:
                yield places.jsonl, self._copier(batch.output_file_id)
            if places.errors and batch.error_file_id and not table.only_completed:
                yield places.errors, self._copier(batch.error_file_id)
        if places.parquet:
            yield places.parquet, self._write_parquet

    def _copier(self, file_id: str | None) -> Write:
        """Return a function that copies a stored file; None gives an empty file."""
        if file_id is None:
            return lambda _sink: None
        chunks = file_chunks(self._server, file_id, self._transfer)
        return lambda sink: sink.writelines(chunks)

    def _write_table(self, sink: BinaryIO | RawIOBase, format_: str = "table") -> None:
        params = table_params(format_, self._table)
        fetch_table(self._server, self._batch.id, sink, self._transfer, params)

    def _write_parquet(self, sink: BinaryIO | RawIOBase) -> None:
        """Copy the stored Parquet file, or let the server generate one."""
        file_id = self._batch.output_parquet_file_id
        is_wanted = self._table == self._batch.table
        if file_id is not None and is_wanted and self._file_exists(file_id):
            sink.writelines(file_chunks(self._server, file_id, self._transfer))
        else:
            self._write_table(sink, "parquet")

    def _file_exists(self, file_id: str) -> bool:
        try:
            self._server.get(file_path(file_id))
        except NotFoundError:
            return False
        return True
