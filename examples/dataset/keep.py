"""Write the good samples of a batch's Parquet file as a dataset for fine-tuning."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from examples.dataset.prompt import parse_custom_id

_MESSAGES = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
# No column may be called `prompt` or `completion`: TRL would assume another kind of
# dataset.
_SCHEMA = pa.schema(
    {
        "messages": _MESSAGES,
        "prompt_id": pa.int64(),
        "sample": pa.int64(),
        "seed": pa.int64(),
        "model": pa.string(),
        "system_fingerprint": pa.string(),
        "completion_tokens": pa.int64(),
    }
)
_COLUMNS = [
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
    """Decides which samples are dropped.

    Lengths are in characters, without surrounding whitespace. An answer is a duplicate
    if the same prompt has had it before, ignoring case and whitespace. Keeps 16 bytes
    in memory for each sample that passes.
    """

    shortest: int
    longest: int
    seen: set[bytes] = field(default_factory=set)

    def fault(self, row: Row) -> str | None:
        """Return the reason to drop a row, or None to keep it."""
        if row["status"] != "completed":
            return "failed"
        if row["finish_reason"] != "stop":
            return "not finished"
        answer = (row["content"] or "").strip()
        if len(answer) < self.shortest:
            return "too short"
        if len(answer) > self.longest:
            return "too long"
        return "duplicate" if self._is_duplicate(row, answer) else None

    def _is_duplicate(self, row: Row, answer: str) -> bool:
        prompt, _ = parse_custom_id(row["custom_id"])
        plain = " ".join(answer.casefold().split())
        digest = blake2b(f"{prompt} {plain}".encode(), digest_size=_DIGEST).digest()
        if digest in self.seen:
            return True
        self.seen.add(digest)
        return False


def keep(results: Path, dataset: Path, samples: Filter) -> Counter[str]:
    """Write the samples that pass; return the numbers of kept and dropped samples.

    The dataset is written atomically, and not at all if no sample passes. Keeps a few
    thousand rows in memory.
    """
    counts: Counter[str] = Counter()
    temporary = dataset.with_name(f".{dataset.name}")
    with pq.ParquetWriter(temporary, _SCHEMA, compression="zstd") as writer:
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
        temporary.replace(dataset)
    else:
        temporary.unlink()
    return counts


def _groups(results: Path) -> Iterator[list[Row]]:
    with pq.ParquetFile(results) as file:
        for batch in file.iter_batches(columns=_COLUMNS):
            yield batch.to_pylist()


def _example(row: Row) -> Row:
    prompt, sample = parse_custom_id(row["custom_id"])
    kept = {name: row[name] for name in _SCHEMA.names if name in row}
    *before, last = row["messages"]
    last = last | {"content": last["content"].strip()}
    return kept | {"messages": [*before, last], "prompt_id": prompt, "sample": sample}
