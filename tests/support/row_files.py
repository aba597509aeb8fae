"""Tables as files, in each format that is accepted."""

import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from batchchat.jobs.rows.row_reader import open_rows


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


COMPRESSIONS = {"plain": bytes, "gzip": gzip.compress, "Zstandard": zstd}


def as_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows, delimiter=",", encoding="utf-8"):
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode(encoding)


def as_parquet(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def as_arrow(table, kind=pa.ipc.new_file, **options):
    sink = io.BytesIO()
    with kind(sink, table.schema) as writer:
        writer.write_table(table, **options)
    return sink.getvalue()


def as_feather(table):
    sink = io.BytesIO()
    pyarrow.feather.write_feather(table, sink)
    return sink.getvalue()


def opened(data, name="rows"):
    return open_rows(io.BytesIO(data), name)


def rows_of(reader):
    return [row for batch in reader.batches() for row in batch.to_pylist()]


def read(data, name="rows"):
    return rows_of(opened(data, name))
