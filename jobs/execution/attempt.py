"""One try at one shard: read, ask, checkpoint, commit.

::

    recover ─► begin ─► feed ─► finish ─┬─ every line answered ─► commit
                                        └─ asked to stop ───────► hand back

Wherever it is killed, the next attempt finds the checkpoints and generates only
what they lack. Two attempts at once do no harm: each writes under its own id,
and the commit is created once. Where earlier attempts died, this one asks for
few lines at a time, alone with the engine (see `jobs.suspicion`).
"""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

import msgspec

from batchchat.jobs.engine.conversation import Conversation
from batchchat.jobs.engine.protocol import (
    Choice,
    Completion,
    CompletionOrError,
    EngineRequest,
)
from batchchat.jobs.engine.sampling import Sampling, derived_seed, sampling_for
from batchchat.jobs.errors import BatchchatError, EngineDeadError, RequestRefusedError
from batchchat.jobs.execution import output_lines as response
from batchchat.jobs.execution.answer_cache import as_duplicate
from batchchat.jobs.execution.checkpoint_writer import CheckpointWriter
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.execution.crash_bisection import (
    AttemptMarker,
    CrashBisection,
    read_markers,
)
from batchchat.jobs.execution.request_order import order_requests
from batchchat.jobs.execution.shard_reader import ShardReader
from batchchat.jobs.ids import new_attempt_id, request_id
from batchchat.jobs.internal_errors import as_refusal
from batchchat.jobs.ledger.checkpoint import Result
from batchchat.jobs.ledger.records import Shard
from batchchat.jobs.requests.line_reader import RawLine
from batchchat.jobs.requests.output_constraints import constraints_of
from batchchat.jobs.requests.parser import InvalidLine
from batchchat.jobs.requests.schema import Request

_POLL_SECONDS = 0.2
"""Seconds between two looks at whether the end was asked for."""


@dataclass(slots=True)
class _Asked:
    """A turn of a request that the engine has; `name` is the id of its result.

    `alike` is shared by those that get the same answer; see `jobs.twins`.
    """

    name: str
    turns: Conversation
    seed: int
    cache_key: bytes | None

    @property
    def line(self) -> int:
        return self.turns.request.line

    @property
    def custom_id(self) -> str:
        return self.turns.request.custom_id


@dataclass
class Attempt:
    """One try at `shard`; `feed` it, then `finish` it, in one thread."""

    task: BatchContext
    shard: Shard
    id: str = field(default_factory=new_attempt_id)
    _asked: dict[str, _Asked] = field(default_factory=dict)
    _waiting: dict[bytes, list[_Asked]] = field(default_factory=dict)
    _going_on: deque[Conversation] = field(default_factory=deque)
    _answers: SimpleQueue[tuple[str, CompletionOrError]] = field(
        default_factory=SimpleQueue
    )
    _failure: BatchchatError | None = None
    _suspicion: CrashBisection = field(default_factory=CrashBisection)
    _has_place: bool = False
    _isolated: tuple[int, ...] = ()
    _proven: bool = False
    _died_with: list[int] = field(default_factory=list)
    _steps: int = -1
    _moves: int = 0

    def __post_init__(self) -> None:
        """Have nothing yet."""
        self._harvest = CheckpointWriter(self.task, self.shard.index, self.id)
        self._input = ShardReader(self.task, self.shard)

    @property
    def moves(self) -> int:
        """Grows while there is progress; whoever watches over it looks at that."""
        return self._moves + self._harvest.checkpoints

    def feed(self) -> None:
        """Ask the engine for every answer that is not there yet.

        Returns when all are asked for, or the end is. Raises `StorageError`.
        """
        self._begin()
        isolated = self._suspicion.needs_isolation
        self._has_place = self.task.engine_gate.acquire(
            exclusive=isolated, should_abandon=self._should_abandon
        )
        try:
            if self._has_place:
                self._feed_slices() if isolated else self._feed_all()
        except BaseException:
            self._leave()
            raise

    def finish(self) -> bool:
        """Wait for the answers; commit the shard, or hand it back. Say which.

        Raises:
            StorageError: the storage stayed away longer than it was waited for.
            EngineError: the engine died; what it had finished is checkpointed.

        """
        try:
            self._drain()
        finally:
            self._leave()
        if len(self._harvest.lines) == self.shard.requests:
            self._harvest.commit()
        elif self._died_with and isinstance(self._failure, EngineDeadError):
            self._put_mark(isolated=self._isolated, in_flight=tuple(self._died_with))
            raise self._failure
        self.withdraw()
        if self._failure:
            raise self._failure
        return len(self._harvest.lines) == self.shard.requests

    def withdraw(self) -> None:
        """Take the mark away: the engine did not die of this. Raises `StorageError`."""
        self.task.storage.delete(self._mark)

    def _feed_all(self) -> None:
        """Ask for all lines that have no result, as fast as the engine takes them.

        The shard's requests are held until they are asked, to be put in order.
        """
        self._put_mark()
        lines = map(self._input.parse, self._lines())
        ends = self.shard.index >= self.task.first_tail_shard
        for parsed in order_requests(lines, longest_first=ends):
            if self._is_over:
                return
            self._take(parsed)
            self._collect(0)
            self._go_on()

    def _feed_slices(self) -> None:
        """Ask for few lines at a time, so that the one that kills can be told."""
        lines = {line.number: line for line in self._lines()}
        for number in sorted(lines.keys() & self._suspicion.poison_lines()):
            self._convict(self._input.parse(lines.pop(number)))
        for numbers in self._suspicion.probe_groups(lines):
            if self._is_over:
                return
            self._isolated = numbers
            self._proven = self.task.engine.steps > 0
            self._put_mark(isolated=numbers)
            for number in numbers:
                self._take(self._input.parse(lines[number]))
            self._drain()

    def _drain(self) -> None:
        """Wait for all that was asked, until the end is; checkpoint what came."""
        while (self._asked or self._goes_on) and not self.task.stop.over:
            self._go_on()
            self._collect(_POLL_SECONDS)
        self._drop()
        self._harvest.flush()

    def _drop(self) -> None:
        """Have the engine forget what nobody waits for any more."""
        self.task.engine.abort(list(self._asked))
        self._collect(0)
        self._asked.clear()

    def _should_abandon(self) -> bool:
        self._note_steps()
        return self._is_over

    def _leave(self) -> None:
        if self._asked:  # it was cut off by an error
            self.task.engine.abort(list(self._asked))
        if self._has_place:
            self._has_place = False
            self.task.engine_gate.release(exclusive=self._suspicion.needs_isolation)

    @property
    def in_flight(self) -> int:
        """Requests that the engine has of it."""
        return len(self._asked)

    @property
    def _is_over(self) -> bool:
        return self.task.stop.asked or self._failure is not None

    @property
    def _costs_enough(self) -> bool:
        """Whether what has no answer yet shall have none, though it would be there."""
        return self.task.batch.max_cost is not None and self.task.stop.asked

    @property
    def _mark(self) -> str:
        return self.task.keys.mark(self.shard.index, self.id)

    def _begin(self) -> None:
        """Read what earlier attempts have left."""
        task, shard = self.task, self.shard
        self._harvest.begin()
        self._suspicion = read_markers(task.storage, task.keys, shard.index)

    def _put_mark(self, **lines: tuple[int, ...]) -> None:
        """Say, before the engine is asked, that an attempt has begun."""
        now = self.task.ledger.now()
        mark = AttemptMarker(created_at=now, engine_proven=self._proven, **lines)
        self.task.storage.put(self._mark, msgspec.json.encode(mark))

    def _lines(self) -> Iterator[RawLine]:
        """Yield the shard's lines that have no result yet."""
        return self._input.pending_lines(self._harvest.lines)

    def _take(self, parsed: Request | InvalidLine) -> None:
        """Ask for the answer to a line, or note why there will be none."""
        self._moves += 1
        if isinstance(parsed, InvalidLine):
            name = request_id(self.task.batch.id, parsed.line)
            self._harvest.add_failure(parsed.line, response.invalid(name, parsed))
        else:
            self._try(Conversation(parsed, self._harvest.turns_of(parsed.line)))

    def _go_on(self) -> None:
        """Ask for the turns that follow those that were answered."""
        while self._goes_on:
            self._try(self._going_on.popleft())

    @property
    def _goes_on(self) -> bool:
        return bool(self._going_on) and not self._is_over

    def _try(self, turns: Conversation) -> None:
        """Ask for the next turn of a request, or note why there will be none."""
        name = request_id(self.task.batch.id, turns.request.line)
        try:
            self._ask(name, turns)
        except RequestRefusedError as error:
            self._note_refusal(name, turns, error)
        except BatchchatError as error:
            self._failure = error

    def _convict(self, parsed: Request | InvalidLine) -> None:
        """Note that there is no answer to a line that kills every engine."""
        if isinstance(parsed, InvalidLine):
            self._take(parsed)
            return
        error = RequestRefusedError(
            "the engine died each time it had this request alone",
            code="engine_error",
            status_code=500,
        )
        name = request_id(self.task.batch.id, parsed.line)
        text = response.refused(name, parsed.custom_id, error)
        self._harvest.add_failure(parsed.line, text)

    def _ask(self, name: str, turns: Conversation) -> None:
        """Give a request's next turn to the engine, waiting until it has room."""
        engine = self.task.engine
        with as_refusal(name):
            request = turns.next_request
            prompt = engine.prepare(request, self.task.batch.id)
            sampling = self._sampling(request, engine.remaining_context(prompt))
            key = f"{name}-{self.id}-{turns.answered}"
            work = EngineRequest(key, prompt, sampling, constraints_of(request))
            cache_key = self._alike(request, work)
        asked = _Asked(name, turns, sampling.seed, cache_key)
        if asked.cache_key in self._waiting:
            self._waiting[asked.cache_key].append(asked)
            return
        self._asked[key] = asked
        answer = partial(self._answer, key)
        known = self._known(work, asked)
        if known is not None:
            answer(known)
            return
        try:
            while not engine.submit(work, answer, _POLL_SECONDS):
                self._collect(0)
                if self.task.stop.asked:
                    del self._asked[key]
                    return
        except BatchchatError:
            del self._asked[key]
            raise

    def _alike(self, request: Request, work: EngineRequest) -> bytes | None:
        """Return what those share that get one answer; none do beside a suspect."""
        if self._suspicion.needs_isolation:
            return None
        return self.task.answer_cache.cache_key(request, work)

    def _known(self, work: EngineRequest, asked: _Asked) -> Completion | None:
        """Return an answer that needs no engine, or have those alike wait for it."""
        if work.sampling.max_tokens == 0:
            return _nothing(len(work.prompt.token_ids), work.sampling.n)
        if asked.cache_key is None:
            return None
        known = self.task.answer_cache.answer(asked.cache_key)
        if known is None:
            self._waiting[asked.cache_key] = []
        return known

    def _sampling(self, request: Request, room: int) -> Sampling:
        seed = derived_seed(self.task.batch.seed, request.custom_id)
        return sampling_for(request, self.task.model, seed, room)

    def _answer(self, key: str, answer: CompletionOrError) -> None:
        self._answers.put((key, answer))

    def _collect(self, seconds: float) -> None:
        """Note the answers that are there, waiting for the first; flush if due."""
        with suppress(Empty):
            self._note(*self._answers.get(block=seconds > 0, timeout=seconds))
            while True:
                self._note(*self._answers.get_nowait())
        self._note_steps()
        self._harvest.flush_if_due()

    def _note_steps(self) -> None:
        """Take the engine's steps for progress: they answer what was asked."""
        if self.task.engine.steps != self._steps:
            self._steps = self.task.engine.steps
            self._moves += 1

    def _note(self, key: str, answer: CompletionOrError) -> None:
        """Turn an answer into a result; one that is none is asked again later."""
        asked = self._asked.pop(key, None)
        if asked is None:
            return
        cache_key = self._waiting.pop(asked.cache_key, ()) if asked.cache_key else ()
        if isinstance(answer, Completion):
            if asked.cache_key:
                self.task.answer_cache.put(asked.cache_key, answer)
            self._note_answer(asked, answer)
            for other in cache_key:
                if self._costs_enough:
                    break
                self._note_answer(other, as_duplicate(answer))
        elif isinstance(answer, RequestRefusedError):
            for one in (asked, *cache_key):
                self._note_refusal(one.name, one.turns, answer)
        else:
            self._died_with.append(asked.line)
            self._failure = answer

    def _note_answer(self, asked: _Asked, answer: Completion) -> None:
        """Note the answer to a turn; one that can't be written is an error line."""
        try:
            self._note_turn(asked, answer)
        except RequestRefusedError as error:
            text = response.refused(asked.name, asked.custom_id, error)
            self._harvest.add_failure(asked.line, text)

    def _note_turn(self, asked: _Asked, answer: Completion) -> None:
        """Note the answer to a turn, which may be all. Raises `RequestRefusedError`."""
        asked.turns.add_answer(answer)
        if asked.turns.is_complete:
            self._note_completion(asked)
        else:
            with as_refusal(asked.name):
                msgspec.json.encode(answer)  # what can't be kept is no turn
            line, number = asked.line, asked.turns.answered - 1
            self._harvest.add_turn(line, number, answer)
            self._going_on.append(asked.turns)

    def _note_completion(self, asked: _Asked) -> None:
        model = self.task.model
        with as_refusal(asked.name):
            answer = asked.turns.answer
            text = response.completed(
                asked.name,
                asked.custom_id,
                answer,
                created=self.task.ledger.now(),
                model=model.name,
                price=model.price,
                fingerprint=self.task.engine.fingerprint,
                seed=asked.seed,
            )
            usage = response.usage_of(answer)
        result = Result(
            line=asked.line,
            completed=True,
            usage=usage,
            engine_seconds=answer.engine_seconds,
            text=text,
        )
        self._harvest.add(result)

    def _note_refusal(
        self, name: str, turns: Conversation, error: RequestRefusedError
    ) -> None:
        request = turns.request
        text = response.refused(name, request.custom_id, turns.locate_error(error))
        self._harvest.add_failure(request.line, text)


def _nothing(prompt_tokens: int, n: int) -> Completion:
    """Return the answer to a request that wants no tokens."""
    choices = [Choice(index=i, text="", finish_reason="length") for i in range(n)]
    return Completion(choices=choices, prompt_tokens=prompt_tokens, completion_tokens=0)
