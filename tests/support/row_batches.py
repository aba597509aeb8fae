"""Batches of rows, brought to their end by hand."""

from io import BytesIO
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.results.parquet import write_parquet
from batchchat.jobs.rows.row_options import RowOptions
from tests.support.ended import Hand, echo


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    """Return a table as a Parquet file."""
    sink = BytesIO()
    parquet.write_table(table, sink, **options)
    return sink.getvalue()


def submit_rows(
    hand: Hand,
    rows_table: pa.Table,
    /,
    *,
    row_group_size: int | None = None,
    rows: RowOptions = RowOptions(prompt="hi"),  # noqa: B008 - it is immutable
    **options: Any,
) -> str:
    """Submit a table, and plan it; return the batch's id."""
    data = parquet_bytes(rows_table, row_group_size=row_group_size)
    asked = BatchOptions(**{"model": "m", "seed": 1, "rows": rows, **options})
    file = store_file(hand.ledger, [data], "in.parquet")
    batch = create_batch(hand.ledger, file, asked)
    hand.make_plan(batch.id)
    return batch.id


def ended_rows(
    hand: Hand, rows_table: pa.Table, /, answer: Any = echo, **options: Any
) -> State:
    """Return the state of a batch of rows that is run to its end."""
    batch_id = submit_rows(hand, rows_table, **options)
    hand.run(batch_id, answer)
    return hand.finalize(batch_id)


def read_parquet(hand: Hand, state: State, *options: Any) -> pa.Table:
    """Return the results of a batch, written as Parquet and read again."""
    sink = BytesIO()
    write_parquet(hand.ledger, state, sink, *options)
    return parquet.read_table(BytesIO(sink.getvalue()))
