"""Turns what became of a request into a result for the next checkpoint."""

from dataclasses import dataclass

import msgspec

from batchchat.jobs.engine.conversation import Conversation
from batchchat.jobs.engine.protocol import Completion
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.execution import output_lines
from batchchat.jobs.execution.checkpoint_writer import CheckpointWriter
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.ids import request_id
from batchchat.jobs.internal_errors import fail_request_on_bug
from batchchat.jobs.ledger.checkpoint import Result
from batchchat.jobs.requests.parser import InvalidLine
from batchchat.jobs.requests.schema import Request
from batchchat.jobs.rows.row_options import row_name


@dataclass(slots=True)
class PendingTurn:
    """A submitted turn of a conversation.

    `result_id` is the `id` of the request's output line, `seed` the seed of the
    request. `cache_key` is the same for requests that must have the same answer, and
    None if the answer can't be shared.
    """

    result_id: str
    conversation: Conversation
    seed: int
    cache_key: bytes | None

    @property
    def line(self) -> int:
        """The line of the request in the input file."""
        return self.conversation.request.line


class AnswerRecorder:
    """Records answers and errors with the checkpoint writer of one attempt."""

    def __init__(self, context: BatchContext, writer: CheckpointWriter) -> None:
        """Add results to `writer`."""
        self._context = context
        self._writer = writer

    def record_answer(self, turn: PendingTurn, answer: Completion) -> bool:
        """Record the answer to a turn; return whether another turn follows.

        An answer that can't be encoded becomes an error line.
        """
        conversation = turn.conversation
        try:
            conversation.add_answer(answer)
            if conversation.is_complete:
                self._writer.add(self._result(turn))
                return False
            with fail_request_on_bug(turn.result_id):
                msgspec.json.encode(answer)  # as the checkpoint of the turn will
        except RequestRefusedError as error:
            self._add_error(turn.result_id, conversation.request, error)
            return False
        self._writer.add_turn(turn.line, conversation.answered - 1, answer)
        return True

    def record_refusal(
        self, result_id: str, conversation: Conversation, error: RequestRefusedError
    ) -> None:
        """Record that the next turn of a conversation was refused."""
        located = conversation.locate_error(error)
        self._add_error(result_id, conversation.request, located)

    def record_invalid(self, line: InvalidLine) -> None:
        """Record what is wrong with a line that holds no valid request."""
        batch = self._context.batch
        result_id, row = (
            request_id(batch.id, line.line),
            row_name(batch.rows, line.line),
        )
        self._writer.add_failure(line.line, output_lines.invalid(result_id, line, row))

    def record_poison(self, request: Request, reason: str) -> None:
        """Record that a request repeatedly crashed the engine, and why if known."""
        text = "this request repeatedly crashed the engine"
        error = RequestRefusedError(
            f"{text}: {reason}" if reason else text,
            code="engine_error",
            status_code=500,
        )
        result_id = request_id(self._context.batch.id, request.line)
        self._add_error(result_id, request, error)

    def _add_error(
        self, result_id: str, request: Request, error: RequestRefusedError
    ) -> None:
        text = output_lines.refused(result_id, request.custom_id, error)
        self._writer.add_failure(request.line, text)

    def _result(self, turn: PendingTurn) -> Result:
        """Build the result of a conversation. Raises `RequestRefusedError`."""
        context = self._context
        with fail_request_on_bug(turn.result_id):
            answer, request = turn.conversation.answer, turn.conversation.request
            text = output_lines.completed(
                turn.result_id,
                request.custom_id,
                answer,
                created=context.ledger.now(),
                model=context.model.name,
                price=context.model.price,
                fingerprint=context.engine.fingerprint,
                seed=turn.seed,
                metadata=request.parameter("metadata"),
            )
            return Result(
                line=turn.line,
                completed=True,
                usage=output_lines.usage_of(answer),
                engine_seconds=answer.engine_seconds,
                text=text,
            )
