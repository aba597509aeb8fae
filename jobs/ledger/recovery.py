"""Recovers the results that earlier attempts at a shard have checkpointed."""

from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from batchchat.jobs.catalog.catalog import gpu_count
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import CorruptObjectError, ObjectMissingError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.checkpoint import (
    FinishedLine,
    Result,
    read_header,
    unpack,
    unpack_lines,
)
from batchchat.jobs.ledger.keys import BatchKeys
from batchchat.jobs.ledger.records import Commit, Counts, Part
from batchchat.jobs.storage import Storage

Engines = dict[str, dict[str, Any]]
"""The identities of engines, by fingerprint."""


@dataclass
class RecoveredResults:
    """The results of a shard so far, from its checkpoints in order.

    If a line has several results, the first one counts. The same rule holds when the
    shard is committed and when its results are read.
    """

    parts: list[Part] = field(default_factory=list)
    lines: set[int] = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)
    usage: Usage = field(default_factory=Usage)
    engine_seconds: float = 0.0
    gpu_seconds: float = 0.0
    engines: Engines = field(default_factory=dict)
    reused: int = 0

    def add(
        self, part: Part, results: list[Result], engines: Engines | None = None
    ) -> None:
        """Add the results of a checkpoint, which `engines` have produced."""
        self.engines |= engines or {}
        completed = failed = 0
        usage, seconds = self.usage, 0.0
        for result in results:
            if result.line not in self.lines:
                self.lines.add(result.line)
                completed += result.completed
                failed += not result.completed
                self.reused += result.is_reused
                usage += result.usage
                seconds += result.engine_seconds
        self.engine_seconds += seconds
        self.gpu_seconds += seconds * _gpus(engines or {})
        self.parts.append(part)
        self.usage = usage
        self.counts += Counts(completed + failed, completed, failed)

    def commit(self, shard: int, attempt: str, created_at: int) -> Commit:
        """Return the commit that makes these results final."""
        return Commit(
            shard=shard,
            attempt=attempt,
            created_at=created_at,
            parts=self.parts,
            counts=self.counts,
            usage=self.usage,
            engine_seconds=self.engine_seconds,
            gpu_seconds=self.gpu_seconds,
            engines=self.engines,
            reused=self.reused,
        )


def _gpus(engines: Engines) -> int:
    """Return the number of GPUs of the engine that has produced a checkpoint."""
    for identity in engines.values():
        return gpu_count({**identity.get("arguments", {}), **identity})
    return 1


def stored_keys(storage: Storage, keys: BatchKeys, shard: int) -> list[str]:
    """Return the keys of all that attempts at a shard have stored, in order."""
    return [entry.key for entry in storage.list(keys.shard(shard))]


def known_keys(storage: Storage, keys: BatchKeys, shard: int) -> list[str]:
    """Return the keys in `stored_keys`, and those that were handed back, in order."""
    found = set(stored_keys(storage, keys, shard))
    key = keys.handed_back(shard)
    with suppress(ObjectMissingError, CorruptObjectError):
        handed_back = records.decode(Commit, storage.get(key), key)
        found.update(part.key for part in handed_back.parts)
    return sorted(found)


def recover(
    storage: Storage,
    keys: BatchKeys,
    shard: int,
    lines: Container[int] | None = None,
    stored: list[str] | None = None,
) -> RecoveredResults:
    """Return the checkpointed results of all attempts, without corrupt checkpoints.

    With `lines`, those of the shard, checkpoints with results of other lines are left
    out: they were made for the shard of a lost plan. `stored` has the keys of the
    shard; None lists them.

    Raises:
        NewerFormatError: a newer version of batchchat wrote one of the checkpoints.

    """
    kept = RecoveredResults()
    skipped = keys.attempt_markers(shard), keys.turns(shard)
    for key in stored_keys(storage, keys, shard) if stored is None else stored:
        if key.startswith(skipped):
            continue
        try:
            data = storage.get(key)
            results = unpack(data, key)
        except (CorruptObjectError, ObjectMissingError):
            continue
        if lines is not None and not all(result.line in lines for result in results):
            continue
        head = read_header(data)
        kept.add(Part(key, len(data), head.sha256), results, head.engines)
    return kept


def read_part(storage: Storage, part: Part) -> list[FinishedLine]:
    """Return the result lines of a checkpoint that a commit names.

    Raises:
        CorruptObjectError: the checkpoint is not the one that was committed.

    """
    return unpack_lines(storage.get(part.key), part.key, part.sha256)
