"""Answered turns of unfinished requests, stored so that none is generated twice."""

from collections.abc import Iterable

import msgspec

from batchchat.jobs.engine.protocol import Completion
from batchchat.jobs.errors import CorruptObjectError, ObjectMissingError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.keys import BatchKeys
from batchchat.jobs.storage import Storage


class PartialTurn(msgspec.Struct):
    """The answer to turn `number` (from 0) of the request on a line."""

    line: int
    number: int
    answer: Completion


class PartialTurns(records.Record, frozen=True):
    """`turns/<attempt>-<number>.json`: turns stored by one flush."""

    turns: list[PartialTurn]


def pack_turns(turns: Iterable[PartialTurn]) -> bytes:
    """Return the object that stores `turns`."""
    return records.encode(PartialTurns(list(turns)))


def read_turns(
    storage: Storage, keys: BatchKeys, shard: int, stored: Iterable[str]
) -> dict[int, list[Completion]]:
    """Return the answers to the first turns of a shard's requests, by line.

    `stored` has the keys of all that attempts at the shard have stored.

    If a turn was answered twice, the answer that is listed first counts. A turn counts
    only if all turns before it are stored, too. Corrupt objects are left out.

    Raises:
        NewerFormatError: a newer version of batchchat has stored some of them.

    """
    found: dict[tuple[int, int], Completion] = {}
    for key in stored:
        if not key.startswith(keys.turns(shard)):
            continue
        try:
            flushed = records.decode(PartialTurns, storage.get(key), key)
        except (CorruptObjectError, ObjectMissingError):
            continue
        for turn in flushed.turns:
            found.setdefault((turn.line, turn.number), turn.answer)
    answers: dict[int, list[Completion]] = {}
    for line, number in sorted(found):
        first_turns = answers.setdefault(line, [])
        if len(first_turns) == number:
            first_turns.append(found[line, number])
    return answers
