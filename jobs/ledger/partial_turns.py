"""Turns of requests that are not answered yet, kept so that none is paid for twice."""

from collections.abc import Iterable

import msgspec

from batchchat.jobs.engine.protocol import Completion
from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.ledger.keys import BatchKeys
from batchchat.jobs.storage import Storage


class PartialTurn(msgspec.Struct):
    """The answer to one turn, the `number`th from 0, of the request on a line."""

    line: int
    number: int
    answer: Completion


_decoder = msgspec.json.Decoder(list[PartialTurn])


def pack_turns(turns: Iterable[PartialTurn]) -> bytes:
    """Return the object that keeps `turns`."""
    return msgspec.json.encode(list(turns))


def read_turns(
    storage: Storage, keys: BatchKeys, shard: int
) -> dict[int, list[Completion]]:
    """Return the answers to the first turns of a shard's requests, by line.

    Of two answers to one turn the first that is listed counts, and a turn counts
    only behind the one before it. What is torn is left out.
    """
    found: dict[tuple[int, int], Completion] = {}
    for entry in list(storage.list(keys.turns(shard))):
        try:
            turns = _decoder.decode(storage.get(entry.key))
        except (msgspec.MsgspecError, UnicodeDecodeError, ObjectMissingError):
            continue
        for turn in turns:
            found.setdefault((turn.line, turn.number), turn.answer)
    kept: dict[int, list[Completion]] = {}
    for line, number in sorted(found):
        answers = kept.setdefault(line, [])
        if len(answers) == number:
            answers.append(found[line, number])
    return kept
