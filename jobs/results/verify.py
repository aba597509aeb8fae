"""Reruns requests of an ended batch and compares the answers.

Identical answers are not guaranteed: on a GPU, the requests that are computed in the
same step may influence each other's sampled tokens.
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
    """The comparison of a sample; `different` has custom_ids.

    `then` and `now` are the numbers of original and new answers, by the fingerprint of
    their engine.
    """

    sampled: int
    identical: int
    different: list[str]
    then: dict[str, int]
    now: dict[str, int]

    @property
    def identical_share(self) -> float:
        """The fraction of identical answers, from 0 to 1."""
        return self.identical / self.sampled


class _Body(msgspec.Struct):
    custom_id: str
    response: dict[str, Any] | None


_decoder = msgspec.json.Decoder(_Body)


def sample(ledger: Ledger, state: State, most: int) -> list[Row]:
    """Return a random sample of up to `most` completed requests, always the same.

    Reads the whole batch, and holds the sample in memory.

    Raises:
        ConflictError: the batch has not ended.
        UsageError: no request of the batch was completed.

    """
    chance = Random(state.batch.id)  # noqa: S311 - not a secret
    kept: list[Row] = []
    completed = (row for row in JoinedRows(ledger, state) if row.completed)
    for index, row in enumerate(completed):
        if index < most:
            kept.append(row)
        elif (place := chance.randint(0, index)) < most:
            kept[place] = row
    if not kept:
        raise UsageError(
            f"`{state.batch.id}` has no completed requests to verify",
            hint=f"see its status with `batchchat status {state.batch.id}`",
        )
    return sorted(kept, key=lambda row: row.line.number)


def rerun_lines(ledger: Ledger, state: State, rows: Iterable[Row]) -> Iterator[bytes]:
    """Yield input lines that repeat the requests with their original seeds."""
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
    """Compare the answers of `rows` with those of the ended batch `state`."""
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
    """Return the fingerprint of an answer's engine, `none` if there is no answer."""
    return str(((response or {}).get("body") or {}).get("system_fingerprint", "none"))


def _said(response: dict[str, Any] | None) -> list[Any]:
    """Return the content of an answer, without random ids."""
    body = (response or {}).get("body") or {}
    return [
        (choice["message"] | {"tool_calls": _calls(choice)}, choice["finish_reason"])
        for choice in (*body.get("turns", ()), *body.get("choices", ()))
    ]


def _calls(choice: dict[str, Any]) -> list[Any]:
    return [call["function"] for call in choice["message"].get("tool_calls", ())]
