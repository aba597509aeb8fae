"""The Parquet file of a batch, which is stored beside its output file.

It is written before the final record, which names it, so that an ended batch always
has it. If it can't be written, the batch ends without it: the results must not wait.
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
    """Write the Parquet file, if the batch wants one; return the record that names it.

    Raises `StorageError` if a retry may help.
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
        log.error("%s ends without a Parquet file: %s\n%s", state.batch.id, kind, calls)  # noqa: TRY400 - that logs the text
        return outcome
    return msgspec.structs.replace(
        outcome, parquet_file_id=file_id, parquet_bytes=sink.size
    )


def parquet_file_id(ledger: Ledger, outcome: Outcome) -> str | None:
    """Return the id of the Parquet file, None if there is none or it was deleted."""
    file_id = outcome.parquet_file_id
    try:
        if file_id is not None:
            ledger.storage.size(ledger.keys.content(file_id))
    except ObjectMissingError:
        return None
    return file_id
