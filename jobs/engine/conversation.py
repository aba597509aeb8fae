"""A conversation whose generated turns the model fills in one after the other.

::

    user, gap, user, gap, user  ─► turn 1: [user]
                                   turn 2: [user, answer 1, user]
                                   turn 3: [user, answer 1, user, answer 2, user]

Each turn is submitted as a request of its own as soon as the previous one is answered,
so the engine finds most of its prompt in the prefix cache. The answer to the last turn
is the answer to the request.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from batchchat.jobs.engine.protocol import Choice, Completion, GeneratedTurn
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.requests.schema import Message, Request
from batchchat.jobs.requests.schema_types import FunctionCall, ToolCall

_OVERRIDE_PAIRS = (("tools", "tool_choice"), ("response_format", "structured_outputs"))
"""Fields that override those of the body in pairs: setting one unsets the other."""


_EMPTY_ANSWER = Completion(
    choices=[Choice(index=0, text="", finish_reason="stop")],
    prompt_tokens=0,
    completion_tokens=0,
)


class Conversation:
    """The turns of one request: just one, unless it has generated turns."""

    def __init__(self, request: Request, answers: Iterable[Completion] = ()) -> None:
        """Start with `answers` to the first turns."""
        self.request = request
        messages = request.body.messages
        ends = [index for index, turn in enumerate(messages) if turn.is_generated_turn]
        if not messages[-1].is_generated_turn:
            ends.append(len(messages))
        self._ends = ends
        self._has_generated_turns = len(ends) > 1 or messages[-1].is_generated_turn
        self._answers = list(answers)

    @property
    def answered(self) -> int:
        """The number of answered turns."""
        return len(self._answers)

    @property
    def is_complete(self) -> bool:
        """Whether all turns are answered."""
        return self.answered == len(self._ends)

    @property
    def next_request(self) -> Request:
        """The next unanswered turn, as a request."""
        if not self._has_generated_turns:
            return self.request
        body, end = self.request.body, self._ends[self.answered]
        message = body.messages[end] if end < len(body.messages) else None
        fields = _constraint_fields(
            body, message, is_last=self.answered == len(self._ends) - 1
        )
        body = msgspec.structs.replace(
            body, messages=self._messages_before(end), **fields
        )
        return msgspec.structs.replace(self.request, body=body)

    def add_answer(self, answer: Completion) -> None:
        """Add the answer to the next unanswered turn."""
        self._answers.append(answer)

    @property
    def answer(self) -> Completion:
        """The answer to the request; requires that all turns are answered."""
        *_, last = self._answers
        if not self._has_generated_turns:
            return last
        length = len(self.request.body.messages)
        turns = [
            GeneratedTurn(end, answer)
            for end, answer in zip(self._ends, self._answers, strict=True)
            if end < length
        ]
        reasoning = [answer.reasoning_tokens for answer in self._answers]
        return Completion(
            choices=last.choices,
            prompt_tokens=sum(answer.prompt_tokens for answer in self._answers),
            completion_tokens=sum(answer.completion_tokens for answer in self._answers),
            cached_tokens=sum(answer.cached_tokens for answer in self._answers),
            reasoning_tokens=sum(number or 0 for number in reasoning)
            if any(number is not None for number in reasoning)
            else None,
            engine_seconds=sum(answer.engine_seconds for answer in self._answers),
            turns=turns,
            number=len(self._answers) - 1,
        )

    def locate_error(self, error: RequestRefusedError) -> RequestRefusedError:
        """Return the error of the next turn with the position of the turn."""
        if not self._has_generated_turns:
            return error
        end, body = self._ends[self.answered], self.request.body
        is_generated_turn = end < len(body.messages)
        place = (
            f"messages[{end}]"
            if is_generated_turn
            else "the answer to the last message"
        )
        return RequestRefusedError(
            f"turn {self.answered + 1} of {len(self._ends)}, {place}: {error.message}",
            code=error.code,
            param=place if is_generated_turn else error.param,
            status_code=error.status_code,
        )

    def _messages_before(self, end: int) -> list[Message]:
        """Return the messages before `end`, with the answers filled in."""
        messages: list[Message] = list(self.request.body.messages[:end])
        for at, answer in zip(self._ends, self._answers, strict=False):
            messages[at] = _message(answer.choices[0])
        return messages


def turns_with_empty_answers(request: Request) -> Iterator[Conversation]:
    """Yield the conversation before each turn, as if all answers were empty."""
    conversation = Conversation(request)
    while not conversation.is_complete:
        yield conversation
        conversation.add_answer(_EMPTY_ANSWER)


def _constraint_fields(
    body: Any, message: Message | None, *, is_last: bool
) -> dict[str, Any]:
    """Return the tools and formats of a turn: its own, or for the last the body's."""
    fields: dict[str, Any] = {}
    for pair in _OVERRIDE_PAIRS:
        values = [getattr(message, name, UNSET) for name in pair]
        if all(value is UNSET for value in values) and is_last:
            values = [getattr(body, name) for name in pair]
        fields |= dict(zip(pair, values, strict=True))
    return fields


def _message(choice: Choice) -> Message:
    """Return an answer as a message of the conversation."""
    calls = [
        ToolCall(call["id"], "function", FunctionCall(**call["function"]))
        for call in choice.tool_calls
    ]
    return Message(
        "assistant",
        choice.text,
        tool_calls=calls or UNSET,
        reasoning=choice.reasoning or UNSET,
        generate=False,
    )
