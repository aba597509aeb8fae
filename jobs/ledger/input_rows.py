"""Reads the rows of a batch's input."""

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch
from batchchat.jobs.rows.row_filter import RowFilter
from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.rows.row_reader import RowReader, open_rows
from batchchat.jobs.storage.file_adapter import stored_file


def input_rows(ledger: Ledger, batch: Batch, options: RowOptions) -> RowReader:
    """Return a reader of the rows that requests are made of; others are left out.

    Raises:
        ObjectMissingError: the input was deleted.
        InputFileError: it can't be read as a table.

    """
    file = stored_file(ledger.storage, ledger.keys.content(batch.input_file_id))
    reader = open_rows(file, batch.input_file_id)
    return RowFilter(options.where, options.limit, options.sample).apply(reader)
