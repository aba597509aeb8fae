"""The keys of the objects, made from checked ids only.

::

    projects/<project>/files/<file>/file.json        create-once: what the file is
                                    content          its bytes
                                    deleted.json     it is gone
                                    uses/<batch>     a batch that reads it
    projects/<project>/idempotency/<digest>.json     which batch a create has made
    projects/<project>/webhooks/<endpoint>.json      who wants to hear of its end
    projects/<project>/batches/<batch>/
        batch.json       create-once  what was asked
        plan.json        create-once  the shards, or what is wrong with the input
        problems.jsonl                everything that is wrong with the input
        cancel.json      create-once  the wish to cancel
        commits/00012.json            create-once  makes the shard's results final
        shards/00012/attempts/<attempt>.json         a try that has begun
        shards/00012/<attempt>/00003.jsonl           a checkpoint of it
        shards/00012/turns/<attempt>-00003.json      turns of unanswered requests
        final.json       create-once  how it ended; pins one commit a shard
        delivery_receipt.json  create-once  what became of its delivery to a destination
        delivery_attempt.json              how the last try to deliver it failed
        quarantine/…                  records that could not be read; see `repair.py`
"""

from batchchat.jobs.ids import checked_id, checked_project


class Keys:
    """The keys of one project."""

    def __init__(self, project: str) -> None:
        """Serve `project`, which is checked here."""
        self._top = f"projects/{checked_project(project)}"

    def files(self) -> str:
        """Return what the keys of all files begin with."""
        return f"{self._top}/files"

    def batches(self) -> str:
        """Return what the keys of all batches begin with."""
        return f"{self._top}/batches"

    def file(self, file_id: str) -> str:
        """Return the key of a File object."""
        return f"{self.files()}/{checked_id('file', file_id)}/file.json"

    def content(self, file_id: str) -> str:
        """Return the key of a file's bytes."""
        return f"{self.files()}/{checked_id('file', file_id)}/content"

    def deleted(self, file_id: str) -> str:
        """Return the key of the mark that a file is gone."""
        return f"{self.files()}/{checked_id('file', file_id)}/deleted.json"

    def uses(self, file_id: str) -> str:
        """Return what the keys of the marks of a file's readers begin with."""
        return f"{self.files()}/{checked_id('file', file_id)}/uses/"

    def idempotency_record(self, digest: str) -> str:
        """Return the key of what a create with that digest has made."""
        return f"{self.idempotency_records()}{digest}.json"

    def idempotency_records(self) -> str:
        """Return what the keys of what creates have made begin with."""
        return f"{self._top}/idempotency/"

    def webhooks(self) -> str:
        """Return what the keys of the webhook endpoints begin with."""
        return f"{self._top}/webhooks"

    def batch(self, batch_id: str) -> "BatchKeys":
        """Return the keys of one batch."""
        return BatchKeys(f"{self.batches()}/{checked_id('batch', batch_id)}")


class BatchKeys:
    """The keys of one batch."""

    def __init__(self, top: str) -> None:
        """Begin each key with `top`."""
        self.top = top
        self.batch = f"{top}/batch.json"
        self.plan = f"{top}/plan.json"
        self.problems = f"{top}/problems.jsonl"
        self.cancel = f"{top}/cancel.json"
        self.final = f"{top}/final.json"
        self.delivery_receipt = f"{top}/delivery_receipt.json"
        self.delivery_attempt = f"{top}/delivery_attempt.json"
        self.commits = f"{top}/commits/"
        self.shards = f"{top}/shards"

    def commit(self, shard: int) -> str:
        """Return the key of a shard's commit."""
        return f"{self.commits}{shard:05d}.json"

    def shard(self, shard: int) -> str:
        """Return what the keys of a shard's attempts begin with."""
        return f"{self.shards}/{shard:05d}/"

    def attempt_markers(self, shard: int) -> str:
        """Return what the keys of the marks of a shard's attempts begin with."""
        return f"{self.shard(shard)}attempts/"

    def attempt_marker(self, shard: int, attempt: str) -> str:
        """Return the key of the mark of an attempt that has begun."""
        return f"{self.attempt_markers(shard)}{attempt}.json"

    def checkpoint(self, shard: int, attempt: str, number: int) -> str:
        """Return the key of an attempt's checkpoint."""
        return f"{self.shard(shard)}{attempt}/{number:05d}.jsonl"

    def turns(self, shard: int) -> str:
        """Return what the keys of a shard's kept turns begin with."""
        return f"{self.shard(shard)}turns/"

    def partial_turns(self, shard: int, attempt: str, number: int) -> str:
        """Return the key of turns that an attempt keeps."""
        return f"{self.turns(shard)}{attempt}-{number:05d}.json"

    def quarantined(self, key: str) -> str:
        """Return where a record of the batch is kept that could not be read."""
        name = key.removeprefix(f"{self.top}/").replace("/", "-")
        return f"{self.top}/quarantine/{name}"


def shard_of_commit(key: str) -> int:
    """Return the shard that a commit's key names."""
    return int(key.rpartition("/")[2].removesuffix(".json"))
