"""Estimates what a file will take: exact prompt tokens, and bounds for the rest.

The number of output tokens is unknown in advance. The requests limit it, and the
latest batches of the model show what to expect, including the engine time per token.
Without such batches there is no expectation: no figure is a guess.
"""

import os
from bisect import insort
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.engine.conversation import turns_with_empty_answers
from batchchat.jobs.engine.sampling import requested_tokens
from batchchat.jobs.errors import (
    CorruptObjectError,
    NewerFormatError,
    RequestRefusedError,
)
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Outcome
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.requests.line_reader import iter_lines
from batchchat.jobs.requests.parser import InvalidLine, Parser, parse_line
from batchchat.jobs.requests.schema import Request

_BLOCK_LINES = 64
_BLOCK_BYTES = 1024 * 1024
"""Lines and bytes of a block, which one thread tokenizes; a longer line is a block."""

_QUEUED_BLOCKS_PER_THREAD = 2
"""Rendered blocks that may wait for each thread."""

_MAX_LISTED_LINES = 1_000
"""Maximum number of lines in `TokenCounts.lines`."""

_HISTORY_BATCHES = 5
_MAX_BATCHES_SEARCHED = 200
"""How many batches are searched for the latest ones of a model."""


@dataclass
class TokenCounts:
    """Running totals for one input file.

    `turns` counts the later prompts of requests with generated turns; the tokens of
    the generated turns themselves are not counted. `max_output_tokens` is the most
    that the answers may have. `reused` requests need not be run. `lines` lists the
    first lines that can't be answered: those that are `invalid`, `too_long` for the
    model, or `refused` for its template or tokenizer, each counted once.
    """

    bytes: int = 0
    requests: int = 0
    reused: int = 0
    invalid: int = 0
    too_long: int = 0
    refused: int = 0
    turns: int = 0
    input_tokens: int = 0
    max_output_tokens: int = 0
    lines: list[int] = field(default_factory=list)


class Range(NamedTuple):
    """A range between two bounds, which are included."""

    low: float
    high: float


@dataclass(frozen=True)
class ModelHistory:
    """What the latest batches of a model took.

    `output_tokens` are per answer, `engine_seconds` per token.
    """

    batches: int
    requests: int
    output_tokens: Range
    engine_seconds: Range

    def expected_output_tokens(self, counted: TokenCounts) -> Range:
        """Return how many output tokens to expect."""
        unusable = counted.invalid + counted.too_long + counted.refused
        answered = counted.requests - unusable - counted.reused
        return Range(
            *(
                min(counted.max_output_tokens, round(answered * each))
                for each in self.output_tokens
            )
        )

    def expected_engine_seconds(self, counted: TokenCounts) -> Range:
        """Return how much engine time to expect, in seconds."""
        output = self.expected_output_tokens(counted)
        return Range(
            *(
                (counted.input_tokens + tokens) * each
                for tokens, each in zip(output, self.engine_seconds, strict=True)
            )
        )


class _Block(NamedTuple):
    """Prompts in tokenization; `context` is the context length in tokens."""

    prompts: list[tuple[Request, str]]
    lengths: Future[list[int | None]]
    context: int | None


class TokenCounter:
    """Counts the tokens of one file."""

    def __init__(
        self, model: str | None, renderers: RendererRegistry, max_line_bytes: int
    ) -> None:
        """Count for `model`, or else for the model that the lines name."""
        self.counted = TokenCounts()
        self._parser = Parser(model, names=renderers.catalog.names)
        self._renderers = renderers
        self._max_line_bytes = max_line_bytes
        self._duplicate_lines: Collection[int] = ()
        self._reused_lines: Collection[int] = ()
        self._last_rejected = 0

    @property
    def model(self) -> str | None:
        """The given model, or the one that the lines name."""
        return self._parser.model

    def count(
        self,
        chunks: Iterable[bytes],
        duplicate_lines: Collection[int] = (),
        reused_lines: Collection[int] = (),
    ) -> None:
        """Count the tokens of a file; holds a few blocks of lines per core in memory.

        `duplicate_lines` have the custom_id of an earlier line, so they are invalid.
        `reused_lines` need no tokens, as an earlier batch has answered their requests.

        Raises:
            ModelNotFoundError: the model is unknown, or its files are not local.
            ConfigError: its tokenizer can't be read.

        """
        self._duplicate_lines = duplicate_lines
        self._reused_lines = reused_lines
        threads = os.cpu_count() or 1
        waiting: deque[_Block] = deque()
        with ThreadPoolExecutor(
            threads, "tokens"
        ) as pool:  # in parallel with rendering
            for block in self._blocks(chunks):
                renderer = self._renderers.get(str(self._parser.model))
                prompts = self._render(block, renderer)
                lengths = pool.submit(renderer.count_tokens, prompts)
                waiting.append(_Block(prompts, lengths, renderer.context_length))
                if len(waiting) > threads * _QUEUED_BLOCKS_PER_THREAD:
                    self._count_block(waiting.popleft())
            for one in waiting:
                self._count_block(one)

    def _blocks(self, chunks: Iterable[bytes]) -> Iterator[list[Request]]:
        block: list[Request] = []
        begin = 0
        for request in self._requests(chunks):
            block.append(request)
            if len(block) == _BLOCK_LINES or self.counted.bytes - begin >= _BLOCK_BYTES:
                yield block
                block, begin = [], self.counted.bytes
        if block:
            yield block

    def _requests(self, chunks: Iterable[bytes]) -> Iterator[Request]:
        counted = self.counted
        for line in iter_lines(chunks, self._max_line_bytes):
            counted.bytes = line.offset + line.length
            if line.raw is not None and not line.raw.strip():
                continue
            counted.requests += 1
            parsed = parse_line(self._parser, line, self._max_line_bytes)
            if isinstance(parsed, InvalidLine) or parsed.line in self._duplicate_lines:
                counted.invalid += 1
                self._list_line(parsed.line)
            elif parsed.line in self._reused_lines:
                counted.reused += 1
            else:
                yield parsed

    def _render(
        self, requests: list[Request], renderer: PromptRenderer
    ) -> list[tuple[Request, str]]:
        """Return the turns of the requests that can be rendered, with their prompts."""
        prompts: list[tuple[Request, str]] = []
        for request in requests:
            try:
                turns = [(turn, renderer.render(turn)) for turn in self._turns(request)]
            except RequestRefusedError:
                self.counted.refused += 1
                self._list_line(request.line)
            else:
                self.counted.turns += len(turns) - 1
                prompts += turns
        return prompts

    def _turns(self, request: Request) -> Iterator[Request]:
        """Yield the request once per prompt: each generated turn adds a prompt."""
        for conversation in turns_with_empty_answers(request):
            yield conversation.next_request

    def _count_block(self, block: "_Block") -> None:
        each = zip(block.prompts, block.lengths.result(), strict=True)
        for (request, _), length in each:
            self._count_prompt(request, length, block.context)

    def _count_prompt(
        self, request: Request, length: int | None, context: int | None
    ) -> None:
        counted = self.counted
        if length is None or (context and length >= context):
            if request.line != self._last_rejected:  # by an earlier turn
                self._last_rejected = request.line
                counted.too_long += length is not None
                counted.refused += length is None
                self._list_line(request.line)
            return
        counted.input_tokens += length
        room = context - length if context else 0
        asked = requested_tokens(request, room)
        counted.max_output_tokens += (min(asked, room) if context else asked) * (
            request.parameter("n") or 1
        )

    def _list_line(self, line: int) -> None:
        lines = self.counted.lines
        if len(lines) < _MAX_LISTED_LINES and line not in lines:
            insort(lines, line)


def model_history(ledger: Ledger, model: Model) -> ModelHistory | None:
    """Return what the latest batches of the model took, None if there are none."""
    ends = list(islice(_recent_outcomes(ledger, model.name), _HISTORY_BATCHES))
    if not ends:
        return None
    each = [end.usage.output_tokens / end.counts.completed for end in ends]
    seconds = [end.engine_seconds / _tokens(end.usage) for end in ends]
    return ModelHistory(
        len(ends),
        sum(end.counts.completed for end in ends),
        Range(min(each), max(each)),
        Range(min(seconds), max(seconds)),
    )


def _recent_outcomes(ledger: Ledger, model: str) -> Iterator[Outcome]:
    for batch in islice(ledger.batches(), _MAX_BATCHES_SEARCHED):
        if batch.model not in (None, model):
            continue
        with suppress(CorruptObjectError, NewerFormatError):
            end = ledger.outcome(batch.id)
            if end is None or not (end.counts.completed and _tokens(end.usage)):
                continue
            plan = ledger.plan(batch.id)
            if plan and plan.model and plan.model.name == model:
                yield end


def _tokens(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens
