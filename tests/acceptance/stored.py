"""What lies in a storage folder: attempts that began, checkpoints that were written."""

from pathlib import Path

from batchchat.jobs.ledger.checkpoint import unpack

_SHARDS = "projects/*/batches/*/shards/*"


def checkpoints(storage: Path) -> set[Path]:
    """Return the checkpoints of all attempts."""
    return set(storage.glob(f"{_SHARDS}/*/*.jsonl"))


def checkpointed(files: set[Path]) -> list[int]:
    """Return the lines whose results the checkpoints hold, each as often as there."""
    return [
        result.line for file in files for result in unpack(file.read_bytes(), file.name)
    ]


def attempts(storage: Path) -> set[Path]:
    """Return the marks of attempts that began and did not hand their shard back."""
    return set(storage.glob(f"{_SHARDS}/attempts/*.json"))


def shard_of(file: Path) -> int:
    """Return the shard that a checkpoint or a mark belongs to."""
    return int(file.parent.parent.name)
