"""Rows that the command line reads, as one Parquet file."""

import json

import pyarrow.parquet as pq

from batchchat.cli.terminal.row_input import open_row_input
from batchchat.jobs.rows.row_filter import RowFilter
from batchchat.jobs.rows.row_reader import open_rows

ROWS = [{"id": n, "text": f"zwölf {n}", "score": n / 2} for n in range(3_000)]


def test_rows_are_stored_as_one_parquet_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with open_row_input([str(path)], RowFilter(limit=2_500)) as file:
        assert (file.name, file.source) == ("rows.parquet", "rows.parquet")
        reader = open_rows(file.stream, file.name)
        rows = [row for batch in reader.batches() for row in batch.to_pylist()]
        assert rows == ROWS[:2_500]
        assert pq.ParquetFile(file.stream).metadata.row_group(0).column(0).compression
