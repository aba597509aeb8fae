"""The requests of a run, and what became of them."""

import json
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from batchchat.jobs.ledger.checkpoint import unpack
from batchchat.jobs.ledger.keys import Keys
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from tests.acceptance.inputs import custom_ids

Answer = tuple[str, int]
"""The digest of a request's text, and its seed."""


@dataclass
class Account:
    """What a batch that has ended gave."""

    state: State
    output: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    stored_twice: int

    @property
    def answers(self) -> dict[str, Answer]:
        """The answers by custom_id."""
        return {
            line["custom_id"]: _answer(line["response"]["body"]) for line in self.output
        }

    @property
    def tokens(self) -> int:
        """What the output lines say was generated."""
        usages = (line["response"]["body"]["usage"] for line in self.output)
        return sum(usage["completion_tokens"] for usage in usages)

    @property
    def codes(self) -> Counter[str]:
        """The codes of the error lines."""
        return Counter(map(_code, self.errors))


@dataclass
class Load:
    """A file of requests; `answers` are those of an undisturbed run."""

    data: bytes
    answers: dict[str, Answer] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many there are."""
        return len(custom_ids(self.data))

    @property
    def digest(self) -> str:
        """What tells this file from others."""
        return sha256(self.data).hexdigest()[:12]

    def check(self, account: Account, status: str = "completed") -> None:
        """Hold the account against what was asked, and the undisturbed answers."""
        asked = custom_ids(self.data)
        place = {custom_id: number for number, custom_id in enumerate(asked)}
        output = [line["custom_id"] for line in account.output]
        errors = [line["custom_id"] for line in account.errors]
        assert account.state.status == status
        assert sorted([*output, *errors], key=place.__getitem__) == asked
        for ids in (output, errors):
            assert ids == sorted(ids, key=place.__getitem__)
        given = account.answers.items()
        wrong = [i for i, answer in given if self.answers.get(i, answer) != answer]
        assert wrong == []
        self._check_sums(account)

    def _check_sums(self, account: Account) -> None:
        counts, usage = account.state.counts(), account.state.usage()
        never_run = account.codes["batch_cancelled"] + account.codes["batch_expired"]
        assert counts.total == self.requests
        assert counts.completed == len(account.output)
        assert counts.failed == len(account.errors) - never_run
        assert usage.output_tokens == account.tokens


def account_of(ledger: Ledger, batch_id: str) -> Account:
    """Read all that a batch that has ended left."""
    state = ledger.state(batch_id)
    assert state.final is not None
    return Account(
        state,
        _lines(ledger, state.final.output_file_id),
        _lines(ledger, state.final.error_file_id),
        stored_twice(ledger, batch_id),
    )


def stored_lines(ledger: Ledger, batch_id: str, shard: int | None = None) -> list[int]:
    """Return the lines whose results the checkpoints hold, each as often as there."""
    keys = ledger.keys.batch(batch_id)
    top = f"{keys.top}/shards/" if shard is None else keys.shard(shard)
    found = [e.key for e in ledger.storage.list(top) if e.key.endswith(".jsonl")]
    return [r.line for key in found for r in unpack(ledger.storage.get(key), key)]


def stored_twice(ledger: Ledger, batch_id: str) -> int:
    """Return how many results were stored of requests that had one already."""
    lines = stored_lines(ledger, batch_id)
    return len(lines) - len(set(lines))


def _lines(ledger: Ledger, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    ledger.file(file_id)  # it is visible
    key = Keys(ledger.project).content(file_id)
    return [json.loads(line) for line in ledger.storage.get(key).splitlines()]


def _answer(body: dict[str, Any]) -> Answer:
    text = body["choices"][0]["message"]["content"]
    return sha256(text.encode()).hexdigest(), body["seed"]


def _code(line: dict[str, Any]) -> str:
    if line["error"]:
        return str(line["error"]["code"])
    return str(line["response"]["body"]["error"]["code"])
