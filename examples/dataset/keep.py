"""Keeps the good samples of a batch's Parquet file, as a dataset for fine-tuning."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from examples.dataset.prompt import named

_MESSAGES = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
_SCHEMA = pa.schema(
    {
        "messages": _MESSAGES,
        "prompt": pa.int64(),
        "sample": pa.int64(),
        "seed": pa.int64(),
        "model": pa.string(),
        "system_fingerprint": pa.string(),
        "completion_tokens": pa.int64(),
    }
)
_READ = [
    "custom_id",
    "status",
    "finish_reason",
    "content",
    "messages",
    "seed",
    "model",
    "system_fingerprint",
    "completion_tokens",
]
_DIGEST = 16

Row = dict[str, Any]


@dataclass
class Filter:
    """Says of each sample why it is dropped, if it is.

    Lengths are in characters, without blanks around the answer. An answer repeats
    another if a prompt has had it before but for case and blanks. Remembers 16
    bytes for each one that is kept.
    """

    shortest: int
    longest: int
    seen: set[bytes] = field(default_factory=set)

    def fault(self, row: Row) -> str | None:
        """Return why a row is dropped, or None if it is kept."""
        if row["status"] != "completed":
            return "failed"
        if row["finish_reason"] != "stop":
            return "not finished"
        answer = (row["content"] or "").strip()
        if len(answer) < self.shortest:
            return "too short"
        if len(answer) > self.longest:
            return "too long"
        return "repeated" if self._is_repeated(row, answer) else None

    def _is_repeated(self, row: Row, answer: str) -> bool:
        prompt, _ = named(row["custom_id"])
        plain = " ".join(answer.casefold().split())
        digest = blake2b(f"{prompt} {plain}".encode(), digest_size=_DIGEST).digest()
        if digest in self.seen:
            return True
        self.seen.add(digest)
        return False


def keep(results: Path, dataset: Path, samples: Filter) -> Counter[str]:
    """Write the samples that pass; return the number of those kept and dropped.

    The dataset appears whole or not at all, and not where nothing passes. Holds some
    thousand rows in memory.
    """
    counts: Counter[str] = Counter()
    aside = dataset.with_name(f".{dataset.name}")
    with pq.ParquetWriter(aside, _SCHEMA, compression="zstd") as writer:
        for rows in _groups(results):
            kept = []
            for row in rows:
                fault = samples.fault(row)
                counts[fault or "kept"] += 1
                if fault is None:
                    kept.append(_example(row))
            if kept:
                writer.write_table(pa.Table.from_pylist(kept, _SCHEMA))
    if counts["kept"]:
        aside.replace(dataset)
    else:
        aside.unlink()
    return counts


def _groups(results: Path) -> Iterator[list[Row]]:
    with pq.ParquetFile(results) as file:
        for batch in file.iter_batches(columns=_READ):
            yield batch.to_pylist()


def _example(row: Row) -> Row:
    prompt, sample = named(row["custom_id"])
    kept = {name: row[name] for name in _SCHEMA.names if name in row}
    *before, last = row["messages"]
    last = last | {"content": last["content"].strip()}
    return kept | {"messages": [*before, last], "prompt": prompt, "sample": sample}
