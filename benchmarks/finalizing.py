"""Measure how fast finished shards become an output file and a Parquet file.

    python -m benchmarks.finalizing --requests 1000000
    python -m benchmarks.finalizing --requests 1000000 --rows

Writes the input, the plan, and the checkpoints and commit of each shard, as attempts
write them. Then one process finalizes the batch, and another writes it as Parquet. With
`--rows` the input is a table of five columns, which are joined to the Parquet file, and
a third process writes the same table as JSON lines.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.report import report
from benchmarks.serving import memory

SHARD = 1_000
TABLE_ROWS = 50_000
"""Rows of a row group of the input."""

PIECE = 250
"""Results in a checkpoint: what a worker finishes in two seconds."""

WORDS = ["the", "of", "and", "to", "in", "that", "was", "his", "he", "it", "with", "is"]


def prepare(folder: Path, requests: int, *, has_rows: bool = False) -> str:
    """Make a batch whose shards are all committed; return its id."""
    from batchchat.jobs.ledger import records

    ledger = open_ledger(folder)
    source = Random(7)
    words = source.choices(WORDS, k=100_000)
    submit = _submit_rows if has_rows else _submit_requests
    batch = submit(ledger, requests, words)
    plan = _plan(ledger, batch)
    ledger.storage.create(ledger.keys.batch(batch.id).plan, records.encode(plan))
    for shard in plan.shards:
        _commit(ledger, batch, shard, words)
    return str(batch.id)


def _submit_requests(ledger: Any, requests: int, words: list[str]) -> Any:
    from batchchat.jobs.ledger.batch_options import BatchOptions
    from batchchat.jobs.ledger.stored_files import store_file
    from batchchat.jobs.ledger.submission import create_batch

    file = store_file(ledger, (_line(i, words) for i in range(requests)), "in.jsonl")
    return create_batch(ledger, file, BatchOptions(model="demo", seed=1))


def _submit_rows(ledger: Any, requests: int, words: list[str]) -> Any:
    """Submit a table, and store its request lines."""
    from batchchat.jobs.ledger.batch_options import BatchOptions
    from batchchat.jobs.ledger.stored_files import store_file
    from batchchat.jobs.ledger.submission import create_batch
    from batchchat.jobs.planning.row_conversion import store_request_lines
    from batchchat.jobs.rows.row_options import RowOptions

    file = store_file(ledger, [_table(requests, words)], "in.parquet")
    rows = RowOptions(prompt="{{ text }}", system="You are a helpful assistant.")
    options = BatchOptions(model="demo", seed=1, rows=rows)
    batch = create_batch(ledger, file, options)
    store_request_lines(ledger, batch, rows, iter)
    return batch


def _table(rows: int, words: list[str]) -> bytes:
    """Return a Parquet file: id, text, language, score and tags of each row."""
    import pyarrow as pa
    from pyarrow import parquet

    sink = io.BytesIO()
    writer = None
    for begin in range(0, rows, TABLE_ROWS):
        numbers = range(begin, min(rows, begin + TABLE_ROWS))
        languages = pa.array([("en", "de", "fr")[n % 3] for n in numbers])
        table = pa.table(
            {
                "id": pa.array(numbers, pa.int64()),
                "text": [" ".join(_words(n, words, 60)) for n in numbers],
                "language": languages.dictionary_encode(),
                "score": [n / 7 for n in numbers],
                "tags": [_words(n, words, 3) for n in numbers],
            }
        )
        writer = writer or parquet.ParquetWriter(sink, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return sink.getvalue()


def _words(number: int, words: list[str], count: int) -> list[str]:
    at = number % 90_000
    return words[at : at + count]


def open_ledger(folder: Path) -> Any:
    """Return the ledger of a local folder."""
    from batchchat.jobs.ledger.ledger import Ledger
    from batchchat.jobs.storage import LocalStorage

    return Ledger(LocalStorage(folder), "default")


def _line(index: int, words: list[str]) -> bytes:
    text = " ".join(_words(index, words, 60))
    line = {
        "custom_id": f"request-{index}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "demo",
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": text},
            ],
            "max_tokens": 256,
        },
    }
    return json.dumps(line).encode() + b"\n"


def _plan(ledger: Any, batch: Any) -> Any:
    from batchchat.jobs.catalog.catalog import load_catalog
    from batchchat.jobs.ledger.records import Plan
    from batchchat.jobs.ledger.request_lines import request_lines_key
    from batchchat.jobs.planning.scanner import Limits, scan
    from batchchat.jobs.requests.parser import Parser

    content = request_lines_key(ledger.keys, batch)
    found = scan(
        lambda: ledger.storage.stream(content),
        Parser("demo"),
        Limits(SHARD, 1 << 30, 1 << 23),
    )
    return Plan(
        created_at=ledger.now(),
        model=load_catalog().find("demo"),
        requests=found.requests,
        invalid_lines=0,
        shards=found.shards,
        problems=[],
    )


def _commit(ledger: Any, batch: Any, shard: Any, words: list[str]) -> None:
    """Commit a shard, in the order in which an engine finishes."""
    from batchchat.jobs.ids import new_attempt_id
    from batchchat.jobs.ledger import records
    from batchchat.jobs.ledger.checkpoint import pack
    from batchchat.jobs.ledger.records import Part
    from batchchat.jobs.ledger.recovery import RecoveredResults

    keys, attempt, kept = (
        ledger.keys.batch(batch.id),
        new_attempt_id(),
        RecoveredResults(),
    )
    lines = [*range(shard.first_line, shard.first_line + shard.lines)]
    Random(shard.index).shuffle(lines)
    for number, at in enumerate(range(0, len(lines), PIECE)):
        results = [_result(batch.id, line, words) for line in lines[at : at + PIECE]]
        packed = pack(results, {"fp_1": {"engine": "none"}})
        key = keys.checkpoint(shard.index, attempt, number)
        ledger.storage.put(key, packed.data)
        kept.add(Part(key, len(packed.data), packed.sha256), results)
    commit = kept.commit(shard.index, attempt, ledger.now())
    ledger.storage.create(keys.commit(shard.index), records.encode(commit))


def _result(batch_id: str, line: int, words: list[str]) -> Any:
    from batchchat.jobs.engine.protocol import Choice, Completion
    from batchchat.jobs.execution import output_lines
    from batchchat.jobs.ids import request_id
    from batchchat.jobs.ledger.checkpoint import Result

    at = line % 90_000
    answer = " ".join(words[at : at + 80])
    choice = Choice(index=0, text=answer, finish_reason="stop")
    completion = Completion(choices=[choice], prompt_tokens=70, completion_tokens=80)
    text = output_lines.completed(
        request_id(batch_id, line),
        f"request-{line - 1}",
        completion,
        created=1_700_000_000,
        model="demo",
        price=None,
        fingerprint="fp_0123456789abcdef",
        seed=line,
    )
    usage = output_lines.usage_of(completion)
    return Result(line, completed=True, usage=usage, engine_seconds=0.01, text=text)


def measure(kind: str, folder: Path, batch_id: str) -> None:
    """Run one of them in this process and print its measurements as JSON."""
    from batchchat.jobs.results.finalize import finalize
    from batchchat.jobs.results.json_table import write_json_table
    from batchchat.jobs.results.parquet import write_parquet

    if kind != "jsonl":
        import pyarrow.parquet

        pyarrow.array([0])  # loads pandas before the measurement
    ledger = open_ledger(folder)
    began, used = time.perf_counter(), time.process_time()
    if kind == "jsonl":
        state = finalize(ledger, batch_id, "completed")
        assert state.counts().completed == state.counts().total
        size = state.final.output_bytes if state.final else 0
        rows = state.counts().completed
    else:
        state, path = ledger.state(batch_id), folder / f"out.{kind}"
        with path.open("wb") as sink:
            (write_parquet if kind == "parquet" else write_json_table)(
                ledger, state, sink
            )
        rows, size = state.counts().total, path.stat().st_size
    used, seconds = time.process_time() - used, time.perf_counter() - began
    peak = memory(os.getpid(), "VmHWM")
    row = {
        "format": kind,
        "rows": rows,
        "seconds": round(seconds, 2),
        "cpu seconds": round(used, 2),
        "rows per cpu second": round(rows / used),
        "MB": round(size / 1e6),
        "peak MiB": round(peak, 1),
    }
    print(json.dumps(row))


def main() -> None:
    """Prepare a batch, then measure each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder for the batch, which is kept")
    parser.add_argument("--rows", action="store_true", help="submit a table")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        kind, folder, batch_id = options.measure
        measure(kind, Path(folder), batch_id)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        batch_id = prepare(folder, options.requests, has_rows=options.rows)
        final = folder / open_ledger(folder).keys.batch(batch_id).final
        rows = []
        for _ in range(options.runs):
            final.unlink(missing_ok=True)
            for kind in ("jsonl", "parquet", *(["table"] if options.rows else [])):
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.finalizing",
                    "--measure",
                    kind,
                ]
                done = subprocess.run(
                    [*command, str(folder), batch_id], check=True, capture_output=True
                )
                rows.append(json.loads(done.stdout))
    report("finalizing", rows)


if __name__ == "__main__":
    main()
