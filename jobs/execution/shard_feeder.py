"""Submits the requests of a shard to the engine and collects the answers.

The requests of a conversation with generated turns are submitted one turn after the
other. Requests that must have the same answer are submitted once: the duplicates wait
for the first one's answer (see `answer_cache`).
"""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue

from batchchat.jobs.engine.conversation import Conversation
from batchchat.jobs.engine.protocol import (
    Choice,
    Completion,
    CompletionOrError,
    EngineRequest,
)
from batchchat.jobs.engine.sampling import nth_seed, request_seed, sampling_for
from batchchat.jobs.errors import BatchchatError, RequestRefusedError
from batchchat.jobs.execution.answer_cache import as_duplicate
from batchchat.jobs.execution.answer_recorder import AnswerRecorder, PendingTurn
from batchchat.jobs.execution.checkpoint_writer import CheckpointWriter
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.ids import request_id
from batchchat.jobs.internal_errors import fail_request_on_bug
from batchchat.jobs.requests.output_constraints import constraints_of
from batchchat.jobs.requests.parser import InvalidLine, ParsedLine

_POLL_SECONDS = 0.2
"""How often a blocked feeder checks whether it should stop."""


class ShardFeeder:
    """The requests of one attempt on their way through the engine; for one thread.

    `failure` is the error after which nothing more is submitted, and `lines_at_death`
    are the lines that the engine had when it died. Without `deduplicate` every request
    is computed. `progress_counter` grows with each sign of progress.
    """

    def __init__(
        self, context: BatchContext, writer: CheckpointWriter, attempt_id: str
    ) -> None:
        """Submit to the context's engine; results go to `writer`."""
        self.failure: BatchchatError | None = None
        self.lines_at_death: list[int] = []
        self.deduplicate = True
        self.progress_counter = 0
        self._context = context
        self._writer = writer
        self._attempt_id = attempt_id
        self._recorder = AnswerRecorder(context, writer)
        self._in_flight: dict[str, PendingTurn] = {}
        self._duplicates: dict[bytes, list[PendingTurn]] = {}
        self._continuing: deque[Conversation] = deque()
        self._answers: SimpleQueue[tuple[str, CompletionOrError]] = SimpleQueue()
        self._engine_steps = -1

    @property
    def in_flight(self) -> int:
        """The number of requests that the engine is processing."""
        return len(self._in_flight)

    @property
    def should_stop(self) -> bool:
        """Whether nothing more should be submitted."""
        return self._context.stop.requested or self.failure is not None

    def submit_all(self, lines: Iterable[ParsedLine]) -> None:
        """Submit `lines` until it should stop, recording answers meanwhile."""
        for line in lines:
            if self.should_stop:
                return
            self.submit(line)
            self._collect(timeout=0)
            self._submit_next_turns()

    def submit(self, line: ParsedLine) -> None:
        """Submit a request, or record why the line gets no answer."""
        self.progress_counter += 1
        if isinstance(line, InvalidLine):
            self._recorder.record_invalid(line)
        else:
            answered = self._writer.take_recovered_turns(line.line)
            self._submit_turn(Conversation(line, answered))

    def reject_poison(self, line: ParsedLine, reason: str) -> None:
        """Record an error for a request that repeatedly crashed the engine."""
        if isinstance(line, InvalidLine):
            self.submit(line)
        else:
            self._recorder.record_poison(line, reason)

    def drain(self) -> None:
        """Wait for all answers, or until the grace period of a stop is over.

        Submits the turns that follow, drops what stays unanswered and flushes the
        checkpoint.
        """
        while (
            self._in_flight or self._has_next_turns
        ) and not self._context.stop.deadline_passed:
            self._submit_next_turns()
            self._collect(_POLL_SECONDS)
        self._context.engine.abort(list(self._in_flight))
        self._collect(timeout=0)
        self._in_flight.clear()
        self._writer.flush()

    def abort(self) -> None:
        """Drop the requests that an error has left in the engine."""
        if self._in_flight:
            self._context.engine.abort(list(self._in_flight))

    def observe_steps(self) -> None:
        """Count a new step of the engine as progress."""
        steps = self._context.engine.steps
        if steps != self._engine_steps:
            self._engine_steps = steps
            self.progress_counter += 1

    @property
    def _has_next_turns(self) -> bool:
        return bool(self._continuing) and not self.should_stop

    def _submit_next_turns(self) -> None:
        while self._has_next_turns:
            self._submit_turn(self._continuing.popleft())

    def _submit_turn(self, conversation: Conversation) -> None:
        """Submit the next turn, or record why the request gets no answer."""
        result_id = request_id(self._context.batch.id, conversation.request.line)
        try:
            with fail_request_on_bug(result_id):
                engine_request, turn = self._prepare(result_id, conversation)
            self._enqueue(engine_request, turn)
        except RequestRefusedError as error:
            self._recorder.record_refusal(result_id, conversation, error)
        except BatchchatError as error:
            self.failure = error

    def _prepare(
        self, result_id: str, conversation: Conversation
    ) -> tuple[EngineRequest, PendingTurn]:
        """Render the next turn. Raises `RequestRefusedError`."""
        context, request = self._context, conversation.next_request
        prompt = context.engine.prepare(request, context.batch.id)
        available_tokens = context.engine.remaining_context(prompt)
        seed = request_seed(request, context.batch.seed)
        turn_seed = nth_seed(seed, conversation.answered)
        sampling = sampling_for(request, context.model, turn_seed, available_tokens)
        key = f"{result_id}-{self._attempt_id}-{conversation.answered}"
        engine_request = EngineRequest(
            key, context.batch.project, prompt, sampling, constraints_of(request)
        )
        cache_key = (
            context.answer_cache.cache_key(request, engine_request)
            if self.deduplicate
            else None
        )
        turn = PendingTurn(result_id, conversation, seed, cache_key)
        return engine_request, turn

    def _enqueue(self, engine_request: EngineRequest, turn: PendingTurn) -> None:
        """Wait until the engine has accepted the turn, unless it need not compute it.

        Raises `EngineDeadError`.
        """
        if turn.cache_key in self._duplicates:
            self._duplicates[turn.cache_key].append(turn)
            return
        answer = self._known_answer(engine_request, turn)
        if answer is not None:
            self._answers.put((engine_request.key, answer))
        elif not self._submit_when_ready(engine_request):
            return
        self._in_flight[engine_request.key] = turn

    def _known_answer(
        self, engine_request: EngineRequest, turn: PendingTurn
    ) -> Completion | None:
        """Return an answer that needs no engine, or let duplicates wait for one."""
        if engine_request.sampling.max_tokens == 0:
            return _empty_completion(engine_request)
        if turn.cache_key is None:
            return None
        answer = self._context.answer_cache.get(turn.cache_key)
        if answer is None:
            self._duplicates[turn.cache_key] = []
        return answer

    def _submit_when_ready(self, engine_request: EngineRequest) -> bool:
        """Wait until the engine has room; return False if asked to stop before."""
        on_done = partial(self._on_done, engine_request.key)
        while not self._context.engine.submit(engine_request, on_done, _POLL_SECONDS):
            self._collect(timeout=0)
            if self._context.stop.requested:
                return False
        return True

    def _on_done(self, key: str, answer: CompletionOrError) -> None:
        """Hand an answer over to the attempt's thread; called by the engine's."""
        self._answers.put((key, answer))

    def _collect(self, timeout: float) -> None:
        """Record available answers, waiting for the first; flush if due."""
        with suppress(Empty):
            self._receive(*self._answers.get(block=timeout > 0, timeout=timeout))
            while True:
                self._receive(*self._answers.get_nowait())
        self.observe_steps()
        self._writer.flush_if_due()

    def _receive(self, key: str, answer: CompletionOrError) -> None:
        turn = self._in_flight.pop(key, None)
        if turn is None:
            return
        duplicates = self._duplicates.pop(turn.cache_key, []) if turn.cache_key else []
        if isinstance(answer, Completion):
            self._record_completion(answer, turn, duplicates)
        elif isinstance(answer, RequestRefusedError):
            for one in (turn, *duplicates):
                self._recorder.record_refusal(one.result_id, one.conversation, answer)
        else:  # no answer: the next attempt submits the request again
            self.lines_at_death.append(turn.line)
            self.failure = answer

    def _record_completion(
        self, answer: Completion, turn: PendingTurn, duplicates: list[PendingTurn]
    ) -> None:
        if turn.cache_key:
            self._context.answer_cache.put(turn.cache_key, answer)
        self._record(turn, answer)
        for duplicate in duplicates:
            if self._reached_cost_limit:
                break
            self._record(duplicate, as_duplicate(answer))

    def _record(self, turn: PendingTurn, answer: Completion) -> None:
        if self._recorder.record_answer(turn, answer):
            self._continuing.append(turn.conversation)

    @property
    def _reached_cost_limit(self) -> bool:
        """Whether duplicates must stay unanswered, since they also cost money."""
        return self._context.batch.max_cost is not None and self._context.stop.requested


def _empty_completion(engine_request: EngineRequest) -> Completion:
    """Return the answer to a request for zero tokens."""
    return Completion(
        choices=[
            Choice(index=index, text="", finish_reason="length")
            for index in range(engine_request.sampling.n)
        ],
        prompt_tokens=len(engine_request.prompt.token_ids),
        completion_tokens=0,
    )
