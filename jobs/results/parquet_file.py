"""The results of a batch as Parquet, kept as a file of the batch beside its output.

It is made before the final record, which names it, so that whoever sees a batch that
has ended finds it there. One that can't be made must not hold up the results: then
the batch ends without it.
"""

import logging
import traceback
from dataclasses import replace

import msgspec

from batchchat.jobs.errors import BatchchatError, ObjectMissingError
from batchchat.jobs.ids import new_file_id
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Outcome
from batchchat.jobs.ledger.state import State
from batchchat.jobs.results.parquet import write_parquet
from batchchat.jobs.storage.file_adapter import WriterFile

log = logging.getLogger(__name__)


def with_parquet_file(ledger: Ledger, state: State, outcome: Outcome) -> Outcome:
    """Return the record with the table of its results, if the batch wants one.

    Raises `StorageError` where another try may help.
    """
    wanted = state.batch.output_format != "jsonl" and outcome.counts.total
    if not wanted:
        return outcome
    file_id = new_file_id()
    try:
        with ledger.storage.writer(ledger.keys.content(file_id)) as content:
            sink = WriterFile(content)
            write_parquet(ledger, replace(state, final=outcome), sink)
    except Exception as error:
        if isinstance(error, BatchchatError) and error.retryable:
            raise
        kind = type(error).__name__
        calls = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s ends without Parquet: %s\n%s", state.batch.id, kind, calls)  # noqa: TRY400 - it would say the exception's text
        return outcome
    return msgspec.structs.replace(
        outcome, parquet_file_id=file_id, parquet_bytes=sink.size
    )


def parquet_file_id(ledger: Ledger, outcome: Outcome) -> str | None:
    """Return the id of the table, None where none was made or it was deleted."""
    file_id = outcome.parquet_file_id
    try:
        if file_id is not None:
            ledger.storage.size(ledger.keys.content(file_id))
    except ObjectMissingError:
        return None
    return file_id
