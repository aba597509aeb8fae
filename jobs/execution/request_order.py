"""Orders the requests of a shard so that the engine computes as little as possible.

An engine caches the prefixes of recent prompts until its memory is full. Requests that
share a long prefix (a system message, instructions, a document) find it in the cache
if they are submitted one after the other, but perhaps not if they are spread over the
file.

Requests with a grammar come last: while their grammars are compiled, the engine
computes the others.

At the end of a batch nothing is left to run beside a long answer. So there the
requests with the longest possible answers come first.

The order affects nothing else: results are written in the order of the input.
"""

from collections.abc import Iterable, Iterator
from sys import maxsize

import msgspec

from batchchat.jobs.engine.sampling import requested_tokens
from batchchat.jobs.requests.output_constraints import has_tools, needs_grammar
from batchchat.jobs.requests.parser import InvalidLine, ParsedLine

_MIN_SHARED_CHARS = 512
"""Shared characters from which on it is worth grouping two prompts."""


def order_requests(
    lines: Iterable[ParsedLine], *, longest_first: bool
) -> Iterator[ParsedLine]:
    """Yield all lines, grouped by common prefix, otherwise in input order.

    With `longest_first`, groups that may generate more tokens come earlier. The order
    is deterministic.
    """
    groups: dict[tuple[bool, str | int], list[ParsedLine]] = {}
    for line in lines:
        key = (_has_grammar(line), _shared_prefix(line))
        groups.setdefault(key, []).append(line)

    def rank(key: tuple[bool, str | int]) -> tuple[bool, int]:
        longest = max(map(_max_tokens, groups[key])) if longest_first else 0
        return key[0], -longest

    for key in sorted(groups, key=rank):
        group = groups[key]
        yield from group if len(group) == 1 else sorted(group, key=_prompt_text)


def _max_tokens(line: ParsedLine) -> int:
    """Return the most tokens that the turns of a request may generate."""
    if isinstance(line, InvalidLine):
        return 0
    turns = [message for message in line.body.messages if message.is_generated_turn]
    return requested_tokens(line, maxsize) * max(1, len(turns))


def _has_grammar(line: ParsedLine) -> bool:
    return not isinstance(line, InvalidLine) and needs_grammar(line)


def _shared_prefix(line: ParsedLine) -> str | int:
    """Return the prefix to group by, or a unique key if the prompt is too short."""
    if isinstance(line, InvalidLine):
        return line.line
    prefix = _prompt_text(line)[:_MIN_SHARED_CHARS]
    return prefix if len(prefix) == _MIN_SHARED_CHARS else line.line


def _prompt_text(line: ParsedLine) -> str:
    """Return the texts of a prompt in the order of templates: tools come first."""
    if isinstance(line, InvalidLine):
        return ""
    tools = line.body.tools if has_tools(line) else ()
    texts = [f"{message.role}\n{message.text()}" for message in line.body.messages]
    return "\n".join((msgspec.json.encode(tools).decode(), *texts))
