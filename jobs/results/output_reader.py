"""Reads the result lines that `execution/output_lines.py` writes."""

from decimal import Decimal
from itertools import repeat
from typing import Any, TypeVar

import msgspec

from batchchat.jobs.errors import CorruptObjectError
from batchchat.jobs.results.joined_rows import Row

_NEVER_RAN = b"null"

T = TypeVar("T")


class CalledFunction(msgspec.Struct, gc=False):
    """The function of a call; a message may have its arguments as an object."""

    name: str
    arguments: str | dict[str, Any]


class ToolCall(msgspec.Struct, gc=False):
    """A tool call; the `arguments` of its function are JSON text."""

    id: str
    function: CalledFunction


class AnsweredMessage(msgspec.Struct, gc=False):
    """What the model generated for one choice or one turn."""

    content: str | None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class AnsweredChoice(msgspec.Struct, gc=False):
    """One choice of an answer."""

    index: int
    message: AnsweredMessage
    finish_reason: str
    seed: int | None = None


class Turn(msgspec.Struct, gc=False):
    """A generated turn; `index` is its position in the messages."""

    index: int
    message: AnsweredMessage


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int


class Used(msgspec.Struct, gc=False):
    """The tokens of one answer, and their cost, None without a price."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _Details
    estimated_cost: Decimal | None


class Body(msgspec.Struct, gc=False):
    """The answer to one request, without its log probabilities."""

    choices: list[AnsweredChoice]
    usage: Used
    system_fingerprint: str
    seed: int
    turns: list[Turn] = []
    reused_from: msgspec.Raw = msgspec.Raw(b"null")


class Failure(msgspec.Struct, gc=False):
    """Why a request has no answer; `status_code` is None if it never ran."""

    code: str
    message: str
    status_code: int | None = None


class ResultLine(msgspec.Struct, gc=False):
    """A line of the output or error file; `response` is raw JSON, possibly `null`."""

    custom_id: str | None
    response: msgspec.Raw
    error: Failure | None


class Answered(msgspec.Struct, gc=False):
    """The response to a completed request."""

    body: Body


class AnsweredLine(msgspec.Struct, gc=False):
    """A line of the output file."""

    custom_id: str
    response: Answered


class _Refusal(msgspec.Struct, gc=False):
    error: Failure


class _Refused(msgspec.Struct, gc=False):
    status_code: int
    body: _Refusal


_RESPONSE = b',"response":'
_END = b',"error":null}'
"""What surrounds a response; no JSON string contains these unescaped quotes."""


_answered_line = msgspec.json.Decoder(AnsweredLine)
_line = msgspec.json.Decoder(ResultLine)
_answered = msgspec.json.Decoder(Answered)
_refused = msgspec.json.Decoder(_Refused)


def answers_of(rows: list[Row]) -> list[AnsweredLine]:
    """Return the decoded results of completed requests."""
    return decoded_all(_answered_line, [row.result for row in rows], "result", rows)


def responses_of(rows: list[Row]) -> list[bytes]:
    """Return the responses to completed requests as JSON text."""
    lines = [row.result for row in rows]
    found = [line.find(_RESPONSE) for line in lines]
    if -1 in found or not all(map(bytes.endswith, lines, repeat(_END))):
        each = zip(rows, found, strict=True)
        bad = next(r for r, at in each if at < 0 or not r.result.endswith(_END))
        message = f"the result of line {bad.line.number:,} is corrupt"
        raise CorruptObjectError(message)
    begin, end = len(_RESPONSE), -len(_END)
    return [line[at + begin : end] for line, at in zip(lines, found, strict=True)]


def parse_result(row: Row) -> ResultLine:
    """Return the row's result. Raises `CorruptObjectError`, as all functions here."""
    return decoded(_line, row.result, "result", row)


def body_of(row: Row, result: ResultLine) -> Body:
    """Return the answer of a completed request."""
    return decoded(_answered, result.response, "answer", row).body


def failure_of(row: Row, result: ResultLine) -> Failure:
    """Return why a request has no answer."""
    if result.error is not None:
        return result.error
    refused = decoded(_refused, result.response, "refusal", row)
    failure = refused.body.error
    failure.status_code = refused.status_code
    return failure


def response_text(result: ResultLine) -> bytes | None:
    """Return the response as JSON, None for a request that never ran."""
    text = bytes(result.response)
    return None if text == _NEVER_RAN else text


def decoded_all(
    decoder: "msgspec.json.Decoder[T]", data: list[bytes], what: str, rows: list[Row]
) -> list[T]:
    """Decode `data`, the `what` of each row, such as `result`."""
    try:
        return list(map(decoder.decode, data))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        each = zip(data, rows, strict=True)
        return [decoded(decoder, one, what, row) for one, row in each]


def decoded(
    decoder: "msgspec.json.Decoder[T]", data: bytes | msgspec.Raw, what: str, row: Row
) -> T:
    """Decode `data`, the `what` of a row, such as `result`."""
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"the {what} of line {row.line.number:,} is corrupt: {error}"
        raise CorruptObjectError(message) from None
