"""The keys of all stored objects, made from checked ids only.

::

    projects/<project>/files/<file>/file.json        create-once: metadata
                                    content          the bytes
                                    deleted.json     create-once: it is deleted
                                    uses/<batch>     a batch that reads it
    projects/<project>/deletions/<batch>.json        a batch that is or was deleted
    projects/<project>/idempotency/<digest>.json     the batch that a request created
    projects/<project>/webhooks/<endpoint>.json      a webhook endpoint
    projects/<project>/batches/<batch>/
        batch.json                    create-once: the batch and its options
        plan.json                     create-once: the shards, or why there are none
        problems.jsonl                all problems of the input
        requests.jsonl                the requests that were made of the input's rows
        cancel.json                   create-once: a cancellation request
        extension.json                a later deadline
        commits/00012.json            create-once: makes the shard's results final
        shards/00012/attempts/<attempt>.json         marks an attempt as started
        shards/00012/<attempt>/00003.jsonl           a checkpoint of the attempt
        shards/00012/turns/<attempt>-00003.json      turns of unfinished requests
        answer_index                  where the answers are; see `answer_index.py`
        reuse/<map>                   earlier answers that a plan uses again
        final.json                    create-once: how it ended; pins the commits
        delivery_receipt.json         create-once: the result of the delivery
        delivery_attempt.json         the last failed attempt at the delivery
        quarantine/…                  corrupt records; see `repair.py`
        readers/<reader>.json         a batch that reads the results of this one

Keys outside of projects: `keys/` (`api_keys.py`), `active/` (`active_index.py`) and
`outbox/` (`outbox.py`).
"""

import re
from collections.abc import Iterable

from batchchat.jobs.ids import checked_id, checked_project

_COMMIT = re.compile(r"([0-9]{5,})\.json")

TOP_FOLDERS = ("projects", "keys", "active", "outbox")


class Keys:
    """The keys of one project."""

    def __init__(self, project: str) -> None:
        """Make keys for `project`. Raises `UsageError` if its name is invalid."""
        self._top = f"projects/{checked_project(project)}"

    def files(self) -> str:
        """Return the prefix of all files."""
        return f"{self._top}/files"

    def batches(self) -> str:
        """Return the prefix of all batches."""
        return f"{self._top}/batches"

    def file(self, file_id: str) -> str:
        """Return the key of a file's metadata."""
        return f"{self.files()}/{checked_id('file', file_id)}/file.json"

    def content(self, file_id: str) -> str:
        """Return the key of a file's content."""
        return f"{self.files()}/{checked_id('file', file_id)}/content"

    def deleted(self, file_id: str) -> str:
        """Return the key of the marker that a file is deleted."""
        return f"{self.files()}/{checked_id('file', file_id)}/deleted.json"

    def uses(self, file_id: str) -> str:
        """Return the prefix of the markers of the batches that read a file."""
        return f"{self.files()}/{checked_id('file', file_id)}/uses/"

    def idempotency_record(self, digest: str) -> str:
        """Return the key of the idempotency record of a request with that digest."""
        return f"{self.idempotency_records()}{digest}.json"

    def idempotency_records(self) -> str:
        """Return the prefix of all idempotency records."""
        return f"{self._top}/idempotency/"

    def deletion(self, batch_id: str) -> str:
        """Return the key of the record that a batch is or was deleted."""
        return f"{self.deletions()}{checked_id('batch', batch_id)}.json"

    def deletions(self) -> str:
        """Return the prefix of all records of deleted batches."""
        return f"{self._top}/deletions/"

    def webhooks(self) -> str:
        """Return the prefix of all webhook endpoints, without a trailing `/`."""
        return f"{self._top}/webhooks"

    def batch(self, batch_id: str) -> "BatchKeys":
        """Return the keys of one batch. Raises `NotFoundError` if the id is invalid."""
        return BatchKeys(f"{self.batches()}/{checked_id('batch', batch_id)}")


class BatchKeys:
    """The keys of one batch."""

    def __init__(self, top: str) -> None:
        """Start each key with `top`."""
        self.top = top
        self.batch = f"{top}/batch.json"
        self.plan = f"{top}/plan.json"
        self.problems = f"{top}/problems.jsonl"
        self.requests = f"{top}/requests.jsonl"
        self.cancel = f"{top}/cancel.json"
        self.extension = f"{top}/extension.json"
        self.answer_index = f"{top}/answer_index"
        self.final = f"{top}/final.json"
        self.delivery_receipt = f"{top}/delivery_receipt.json"
        self.delivery_attempt = f"{top}/delivery_attempt.json"
        self.commits = f"{top}/commits/"
        self.readers = f"{top}/readers/"
        self.shards = f"{top}/shards"

    def commit(self, shard: int) -> str:
        """Return the key of a shard's commit."""
        return f"{self.commits}{shard:05d}.json"

    def reader(self, reader_id: str) -> str:
        """Return the key of the marker of a batch that reads this one's results."""
        return f"{self.readers}{checked_id('batch', reader_id)}.json"

    def shard(self, shard: int) -> str:
        """Return the prefix of a shard's attempts."""
        return f"{self.shards}/{shard:05d}/"

    def attempt_markers(self, shard: int) -> str:
        """Return the prefix of the markers of a shard's attempts."""
        return f"{self.shard(shard)}attempts/"

    def attempt_marker(self, shard: int, attempt: str) -> str:
        """Return the key of the marker of an attempt that has started."""
        return f"{self.attempt_markers(shard)}{attempt}.json"

    def checkpoint(self, shard: int, attempt: str, number: int) -> str:
        """Return the key of a checkpoint."""
        return f"{self.shard(shard)}{attempt}/{number:05d}.jsonl"

    def handed_back(self, shard: int) -> str:
        """Return the key of the record of what the last stopped attempt has stored."""
        return f"{self.top}/handed_back/{shard:05d}.json"

    def turns(self, shard: int) -> str:
        """Return the prefix of a shard's partial turns."""
        return f"{self.shard(shard)}turns/"

    def partial_turns(self, shard: int, attempt: str, number: int) -> str:
        """Return the key of turns that an attempt has stored."""
        return f"{self.turns(shard)}{attempt}-{number:05d}.json"

    def reuse_map(self, map_id: str) -> str:
        """Return the key of a map of earlier answers."""
        return f"{self.top}/reuse/{map_id}"

    def quarantined(self, key: str) -> str:
        """Return the key that a corrupt record of the batch is moved to."""
        name = key.removeprefix(f"{self.top}/").replace("/", "-")
        return f"{self.top}/quarantine/{name}"


def shards_of_commits(keys: Iterable[str]) -> set[int]:
    """Return the shard numbers in the keys of commits; skip foreign objects."""
    found = (_COMMIT.fullmatch(key.rpartition("/")[2]) for key in keys)
    return {int(match[1]) for match in found if match}
