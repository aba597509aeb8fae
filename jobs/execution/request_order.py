"""The order in which a shard's requests are asked: what costs the engine least.

An engine remembers the beginnings of prompts that it has computed, as many as its
memory holds, and forgets those that were not used for the longest. Requests that
share a long beginning (a system message, instructions, a document) and are asked one
after the other find it there; spread over the file they may not.

Those whose answers are held to a grammar come last: while it is tried the engine has
the others to answer.

Where a batch ends nothing comes behind a long answer to fill the engine up, so there
those that may be longest come first.

Nothing else depends on the order: answers come back in any, and are written in the
input's.
"""

from collections.abc import Iterable, Iterator
from sys import maxsize

import msgspec

from batchchat.jobs.engine.sampling import requested_tokens
from batchchat.jobs.requests.output_constraints import has_tools, needs_grammar
from batchchat.jobs.requests.parser import InvalidLine
from batchchat.jobs.requests.schema import Request

_MIN_SHARED_CHARS = 512
"""Characters that two prompts must share before it is worth anything."""

ParsedLine = Request | InvalidLine


def order_requests(
    parsed: Iterable[ParsedLine], *, longest_first: bool
) -> Iterator[ParsedLine]:
    """Yield all, those with a common beginning together; else as they came.

    With `longest_first` those that come together come before others whose answers
    may have fewer tokens. The same requests are always yielded in the same order.
    """
    groups: dict[tuple[bool, str | int], list[ParsedLine]] = {}
    for one in parsed:
        groups.setdefault((_needs_grammar(one), _shared_prefix(one)), []).append(one)

    def place(key: tuple[bool, str | int]) -> tuple[bool, int]:
        return key[0], -max(map(_max_tokens, groups[key])) if longest_first else 0

    for key in sorted(groups, key=place):
        group = groups[key]
        yield from group if len(group) == 1 else sorted(group, key=_text)


def _max_tokens(parsed: ParsedLine) -> int:
    """Return how many tokens may be generated for it one after the other."""
    if isinstance(parsed, InvalidLine):
        return 0
    slots = [message for message in parsed.body.messages if message.is_placeholder]
    return requested_tokens(parsed, maxsize) * max(1, len(slots))


def _needs_grammar(parsed: ParsedLine) -> bool:
    return not isinstance(parsed, InvalidLine) and needs_grammar(parsed)


def _shared_prefix(parsed: ParsedLine) -> str | int:
    """Return what a prompt shares with others, or what it shares with none."""
    if isinstance(parsed, InvalidLine):
        return parsed.line
    beginning = _text(parsed)[:_MIN_SHARED_CHARS]
    return beginning if len(beginning) == _MIN_SHARED_CHARS else parsed.line


def _text(parsed: ParsedLine) -> str:
    """Return what a prompt says, in its order: tools come first in templates."""
    if isinstance(parsed, InvalidLine):
        return ""
    tools = parsed.body.tools if has_tools(parsed) else ()
    said = [f"{message.role}\n{message.text()}" for message in parsed.body.messages]
    return "\n".join((msgspec.json.encode(tools).decode(), *said))
