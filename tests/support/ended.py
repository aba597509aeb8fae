"""Batches brought to their end by hand, in memory: what several tests begin with."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.catalog.usage import Price, Usage
from batchchat.jobs.engine.protocol import Choice, Completion
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.execution import output_lines
from batchchat.jobs.ids import new_attempt_id, request_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.checkpoint import Result, pack
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, Part, Plan, Shard
from batchchat.jobs.ledger.recovery import RecoveredResults
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.planning.planner import make_plan
from batchchat.jobs.planning.scanner import Limits
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.requests.line_reader import iter_lines
from batchchat.jobs.requests.parser import InvalidLine, Parser, parse_line
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.requests.schema import Request
from batchchat.jobs.results.finalize import finalize
from batchchat.jobs.rows.row_options import row_name
from batchchat.jobs.storage import MemoryStorage, Storage

LINE_BYTES = 4_096
ENGINES = {"fp": {"version": "1"}}
PRICE = Price(Decimal("0.050001"), Decimal("0.1"), "2026-11-21")
MODEL = Model(name="m", source="m", price=PRICE)

Answer = Completion | RequestRefusedError | None
"""What became of a request; None leaves it without a result."""


class EmptyRegistry(RendererRegistry):
    """Has no model's files at hand."""

    def get_if_local(self, _model: str | Model) -> PromptRenderer | None:
        """Return none."""


def completion(*texts: str, **fields: Any) -> Completion:
    """Return an answer of three and five tokens a text."""
    choices = [
        Choice(index=index, text=text, finish_reason="stop")
        for index, text in enumerate(texts)
    ]
    tokens: dict[str, Any] = {"prompt_tokens": 3, "completion_tokens": 5 * len(texts)}
    return Completion(choices=choices, **(tokens | fields))


def echo(request: Request) -> Completion:
    """Answer with the last message."""
    return completion(f"re: {request.body.messages[-1].text()}")


def bare(text: str, **fields: object) -> bytes:
    """Return an input line that is a body alone."""
    message = {"role": "user", "content": text}
    return json.dumps(fields | {"messages": [message]}).encode()


def whole(custom_id: str, text: str, **fields: object) -> bytes:
    """Return an input line in OpenAI's shape."""
    body = {"messages": [{"role": "user", "content": text}]} | fields
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions"}
    return json.dumps(line | {"body": body}).encode()


@dataclass
class Hand:
    """Does by hand what planners, workers and finalizers do."""

    storage: Storage = field(default_factory=MemoryStorage)
    shard_requests: int = 2
    project: str = "default"

    @property
    def ledger(self) -> Ledger:
        """The ledger, with nothing remembered."""
        return Ledger(self.storage, self.project, lambda: 1_000.0)

    def submit(self, data: bytes, *, plan: bool = True, **options: object) -> str:
        """Hand a file in, and plan it unless told not to; return the batch's id."""
        asked = BatchOptions(**{"model": "m", "seed": 1, **options})  # type: ignore[arg-type]
        batch = create_batch(
            self.ledger, store_file(self.ledger, [data], "in.jsonl"), asked
        )
        if plan:
            self.make_plan(batch.id)
        return batch.id

    def make_plan(self, batch_id: str) -> None:
        """Plan a batch."""
        renderers = EmptyRegistry(Catalog({"m": MODEL}), Path())
        sizes = Limits(self.shard_requests, 1_000_000, LINE_BYTES)
        make_plan(self.ledger, self.ledger.batch(batch_id), renderers, sizes)

    def plan(self, batch_id: str) -> Plan:
        """Return the plan."""
        return self.ledger.state(batch_id).require_plan()

    def results(
        self, batch_id: str, shard: Shard, answer: Callable[[Request], Answer] = echo
    ) -> list[Result]:
        """Return a shard's results, in the order of the input."""
        batch = self.ledger.batch(batch_id)
        data = self.storage.get(request_lines_key(self.ledger.keys, batch))
        mine = data[shard.offset : shard.offset + shard.length]
        parser, found = Parser("m"), []
        for line in iter_lines(
            [mine], LINE_BYTES, offset=shard.offset, first_line=shard.first_line
        ):
            if line.raw is None or line.raw.strip():
                parsed = parse_line(parser, line, LINE_BYTES)
                if parsed.line in shard.duplicate_lines:
                    problem = Problem("duplicate_custom_id", parsed.line, "twice")
                    parsed = InvalidLine(parsed.line, parsed.custom_id, [problem])
                found.append(_result(batch, parsed, answer))
        return [result for result in found if result is not None]

    def checkpoint(
        self, batch_id: str, shard: int, *parts: list[Result]
    ) -> tuple[str, RecoveredResults]:
        """Write an attempt's checkpoints; return its id, and what they hold."""
        keys, attempt, kept = (
            self.ledger.keys.batch(batch_id),
            new_attempt_id(),
            RecoveredResults(),
        )
        for number, results in enumerate(parts):
            packed = pack(results, ENGINES)
            key = keys.checkpoint(shard, attempt, number)
            self.storage.put(key, packed.data)
            part = Part(key, len(packed.data), packed.sha256)
            kept.add(part, results, ENGINES)
        return attempt, kept

    def commit(self, batch_id: str, shard: int, *parts: list[Result]) -> None:
        """Write checkpoints, and the commit that makes them final."""
        attempt, kept = self.checkpoint(batch_id, shard, *parts)
        commit = kept.commit(shard, attempt, 1_000)
        key = self.ledger.keys.batch(batch_id).commit(shard)
        self.storage.create(key, records.encode(commit))

    def run(
        self,
        batch_id: str,
        answer: Callable[[Request], Answer] = echo,
        *,
        shards: int | None = None,
    ) -> None:
        """Commit the first `shards` shards, or all."""
        for shard in self.plan(batch_id).shards[:shards]:
            results = self.results(batch_id, shard, answer)
            self.commit(batch_id, shard.index, results)

    def finalize(self, batch_id: str, status: str = "completed") -> State:
        """End the batch."""
        return finalize(self.ledger, batch_id, status)

    def ended(
        self, data: bytes, answer: Callable[[Request], Answer] = echo, **options: Any
    ) -> State:
        """Return the state of a batch that is run to its end."""
        batch_id = self.submit(data, **options)
        self.run(batch_id, answer)
        return self.finalize(batch_id)

    def file(self, file_id: str | None) -> bytes:
        """Return a file's bytes, none where there is no file."""
        return self.storage.get(self.ledger.keys.content(file_id)) if file_id else b""

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """Return a file's lines."""
        return [json.loads(line) for line in self.file(file_id).splitlines()]


def _result(
    batch: Batch, parsed: Request | InvalidLine, answer: Callable[[Request], Answer]
) -> Result | None:
    name = request_id(batch.id, parsed.line)
    if isinstance(parsed, InvalidLine):
        row = row_name(batch.rows, parsed.line)
        return _failure(parsed.line, output_lines.invalid(name, parsed, row))
    answered = answer(parsed)
    if answered is None:
        return None
    if isinstance(answered, RequestRefusedError):
        text = output_lines.refused(name, parsed.custom_id, answered)
        return _failure(parsed.line, text)
    text = output_lines.completed(
        name,
        parsed.custom_id,
        answered,
        created=1_000,
        model="m",
        price=PRICE,
        fingerprint="fp",
        seed=7,
        metadata=parsed.parameter("metadata"),
    )
    usage = output_lines.usage_of(answered)
    return Result(
        parsed.line, completed=True, usage=usage, engine_seconds=0.5, text=text
    )


def _failure(line: int, text: bytes) -> Result:
    return Result(line, completed=False, usage=Usage(), engine_seconds=0.0, text=text)
