"""The columns of the input's rows in the results."""

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.results import table as module
from tests.support.ended import Hand, echo
from tests.support.row_batches import ended_rows, parquet_bytes, read_parquet
from tests.support.tables import tables


def failing(lines):
    def answer(request):
        if request.line in lines:
            return RequestRefusedError("no", code="x")
        return echo(request)

    return answer


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    table=tables(),
    samples=st.integers(1, 3),
    failed=st.sets(st.integers(1, 36)),
    row_group_size=st.integers(1, 5),
    group_rows=st.integers(1, 5),
    only_completed=st.booleans(),
)
def test_the_columns_of_the_input_are_in_the_results_row_by_row(
    *, table, samples, failed, row_group_size, group_rows, only_completed
):
    hand = Hand()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUP_ROWS", group_rows)
        patch.setattr(module, "_DECODED_ROWS", group_rows)
        state = ended_rows(
            hand,
            table,
            failing(failed),
            samples=samples,
            row_group_size=row_group_size,
        )
        options = TableOptions(only_completed=only_completed)
        found = read_parquet(hand, state, options)
    lines = [
        line
        for line in range(1, table.num_rows * samples + 1)
        if not (only_completed and line in failed)
    ]
    stored = pa.BufferReader(parquet_bytes(table))
    expected = pa.parquet.read_table(stored).take([(n - 1) // samples for n in lines])
    names = found.schema.metadata.get(b"batchchat.renamed_columns")
    assert names is None
    columns = found.select(table.column_names)
    assert columns.schema.equals(expected.schema)
    assert columns.equals(expected)
    assert found["row"].to_pylist() == [(n - 1) // samples + 1 for n in lines]
    assert found["sample"].to_pylist() == [(n - 1) % samples + 1 for n in lines]
    statuses = ["failed" if n in failed else "completed" for n in lines]
    assert found["status"].to_pylist() == statuses
