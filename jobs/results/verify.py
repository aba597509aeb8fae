"""Runs requests of an ended batch again, and compares what they answer.

Equal answers are measured here, and never promised: on a GPU the requests that
share a step with another may change its sampled tokens.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, NamedTuple

import msgspec

from batchchat.jobs.errors import UsageError
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.schema import ENDPOINT
from batchchat.jobs.results.joined_rows import JoinedRows, Row
from batchchat.jobs.results.output_reader import body_of, parse_result


class VerificationReport(NamedTuple):
    """What became of a sample; `different` are custom_ids.

    `then` and `now` count the answers by the fingerprint of their engine.
    """

    sampled: int
    identical: int
    different: list[str]
    then: dict[str, int]
    now: dict[str, int]

    @property
    def identical_share(self) -> float:
        """The share of identical answers, from 0 to 1."""
        return self.identical / self.sampled


class _Body(msgspec.Struct):
    custom_id: str
    response: dict[str, Any] | None


_decoder = msgspec.json.Decoder(_Body)


def sample(ledger: Ledger, state: State, most: int) -> list[Row]:
    """Return up to `most` completed requests, the same ones each time.

    Reads the whole batch, and holds the sample.

    Raises:
        ConflictError: the batch has not ended.
        UsageError: none of its requests was completed.

    """
    chance = Random(state.batch.id)  # noqa: S311 - a sample, no secret
    kept: list[Row] = []
    completed = (row for row in JoinedRows(ledger, state) if row.completed)
    for index, row in enumerate(completed):
        if index < most:
            kept.append(row)
        elif (place := chance.randint(0, index)) < most:
            kept[place] = row
    if not kept:
        raise UsageError(f"`{state.batch.id}` has no completed requests to verify")
    return sorted(kept, key=lambda row: row.line.number)


def rerun_lines(ledger: Ledger, state: State, rows: Iterable[Row]) -> Iterator[bytes]:
    """Yield the input lines that ask for the same once more, with their seeds."""
    reader = JoinedRows(ledger, state)
    for row in rows:
        result = parse_result(row)
        asked = json.loads(reader.raw(row.line))
        body = asked.get("body", asked)
        body.pop("custom_id", None)
        body["seed"] = body_of(row, result).seed
        line = {"custom_id": result.custom_id, "method": "POST", "url": ENDPOINT}
        yield encode(line | {"body": body}) + b"\n"


def compare(rows: Iterable[Row], ledger: Ledger, state: State) -> VerificationReport:
    """Return how the answers of `rows` compare with those of the batch of `state`."""
    answers = {}
    for row in JoinedRows(ledger, state):
        found = _decoder.decode(row.result)
        answers[found.custom_id] = found.response
    then, now = Counter[str](), Counter[str]()
    different = []
    for row in rows:
        before = _decoder.decode(row.result)
        after = answers.get(before.custom_id)
        then[_fingerprint(before.response)] += 1
        now[_fingerprint(after)] += 1
        if _said(before.response) != _said(after):
            different.append(before.custom_id)
    sampled = then.total()
    return VerificationReport(
        sampled, sampled - len(different), different, dict(then), dict(now)
    )


def _fingerprint(response: dict[str, Any] | None) -> str:
    """Return the engine that gave an answer, `none` for what is no answer."""
    return str(((response or {}).get("body") or {}).get("system_fingerprint", "none"))


def _said(response: dict[str, Any] | None) -> list[Any]:
    """Return what an answer says, without ids that are drawn anew."""
    body = (response or {}).get("body") or {}
    return [
        (choice["message"] | {"tool_calls": _calls(choice)}, choice["finish_reason"])
        for choice in (*body.get("turns", ()), *body.get("choices", ()))
    ]


def _calls(choice: dict[str, Any]) -> list[Any]:
    return [call["function"] for call in choice["message"].get("tool_calls", ())]
