"""Measure how fast rows become planned requests, and the memory that it takes.

    python -m benchmarks.rows --rows 1000000

Writes a Parquet file with five columns and about 1 KB a row, then makes requests of its
rows and divides them into shards, in a process of its own, as a planner does. On a busy
machine, CPU seconds are more reliable than wall-clock seconds.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.planning.planner import plan_limits
from batchchat.jobs.planning.row_conversion import store_request_lines
from batchchat.jobs.planning.scanner import scan
from batchchat.jobs.requests.parser import Parser
from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import LocalStorage
from benchmarks.planning import TEXT
from benchmarks.report import report

PROMPTS = {
    "plain": RowOptions(prompt="{{ question }}"),
    "two columns": RowOptions(prompt="{{ question }}\n{{ lang }}", system="Be brief."),
    "three samples": RowOptions(prompt="{{ question }}", samples=3),
    "logic": RowOptions(prompt="{% if score %}{{ question | trim }}{% endif %}"),
}
_BLOCK_ROWS = 10_000


def write_rows(path: Path, rows: int) -> None:
    """Write a table of questions and contexts."""
    source = random.Random(7)
    vocabulary = TEXT.split()
    words = [source.choice(vocabulary) for _ in range(200_000)]

    def texts(length: int) -> Iterable[str]:
        for _ in range(_BLOCK_ROWS):
            at = source.randrange(len(words) - length)
            yield " ".join(words[at : at + length])

    writer = None
    for first in range(0, rows, _BLOCK_ROWS):
        block = pa.table(
            {
                "id": list(range(first, first + _BLOCK_ROWS)),
                "question": list(texts(60)),
                "context": list(texts(180)),
                "lang": ["en", "de"] * (_BLOCK_ROWS // 2),
                "score": [source.random() for _ in range(_BLOCK_ROWS)],
            }
        ).slice(0, rows - first)
        writer = writer or pq.ParquetWriter(path, block.schema, compression="zstd")
        writer.write_table(block)
    if writer is not None:
        writer.close()


def plan(folder: Path, name: str) -> None:
    """Plan the rows in this process and print the measurements as JSON."""
    ledger = Ledger(LocalStorage(folder / "storage"), "default")
    rows = PROMPTS[name]
    data = (folder / "rows.parquet").open("rb")
    with data:
        stored = store_file(ledger, iter(lambda: data.read(1 << 20), b""), "rows")
    options = BatchOptions(model="demo", rows=rows)
    batch = create_batch(ledger, stored, options)
    limits = plan_limits(Settings())
    key = request_lines_key(ledger.keys, batch)
    began, used = time.perf_counter(), time.process_time()
    assert store_request_lines(ledger, batch, rows, lambda chunks: chunks) is None
    converted = time.perf_counter() - began
    parser = Parser("demo", names=Catalog({}).names)
    found = scan(lambda: ledger.storage.stream(key), parser, limits)
    used, seconds = time.process_time() - used, time.perf_counter() - began
    assert not found.problem_count
    made = found.requests // rows.samples
    row = {
        "prompt": name,
        "rows": made,
        "requests": found.requests,
        "seconds": round(seconds, 2),
        "of them converting": round(converted, 2),
        "cpu seconds": round(used, 2),
        "rows per second": round(made / seconds),
        "rows per cpu second": round(made / used),
        "peak MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    print(json.dumps(row))


def main() -> None:
    """Write the rows, and plan them for each prompt in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--prompts", nargs="+", choices=PROMPTS, default=list(PROMPTS))
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        plan(options.folder, options.prompts[0])
        return
    found = []
    with tempfile.TemporaryDirectory() as name:
        write_rows(Path(name) / "rows.parquet", options.rows)
        for prompt in options.prompts:
            command = [sys.executable, "-m", "benchmarks.rows", "--folder", name]
            done = subprocess.run(
                [*command, "--prompts", prompt], check=True, capture_output=True
            )
            found.append(json.loads(done.stdout))
    report("rows", found)


if __name__ == "__main__":
    main()
