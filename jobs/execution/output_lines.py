"""Encodes the lines of the output and error files in OpenAI's format.

`results.output_reader` decodes them.
"""

from http import HTTPStatus
from typing import Any

import msgspec

from batchchat.jobs.catalog.usage import Price, Usage
from batchchat.jobs.engine.protocol import Choice, Completion, GeneratedTurn
from batchchat.jobs.engine.sampling import nth_seed
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.json_lines import encode
from batchchat.jobs.requests.parser import InvalidLine
from batchchat.jobs.requests.problems import Problem


def usage_of(completion: Completion) -> Usage:
    """Return the token counts of an answer."""
    return Usage(
        completion.prompt_tokens,
        completion.cached_tokens,
        completion.completion_tokens,
    )


def completed(
    request_id: str,
    custom_id: str,
    completion: Completion,
    *,
    created: int,
    model: str,
    price: Price | None,
    fingerprint: str,
    seed: int,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """Return the output line of a completed request, which had `seed`."""
    usage = usage_of(completion)
    last_seed = nth_seed(seed, completion.number)
    body = {
        "id": f"chatcmpl-{request_id.removeprefix('batch_req_')}",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [_choice(choice, last_seed) for choice in completion.choices],
        "usage": {
            **_tokens(completion),
            "estimated_cost": price.cost(usage) if price else None,
        },
        "system_fingerprint": fingerprint,
        "seed": seed,
    }
    if metadata:
        body["metadata"] = metadata
    if completion.turns:
        body["turns"] = [
            _turn(turn, nth_seed(seed, number))
            for number, turn in enumerate(completion.turns)
        ]
    return _line(request_id, custom_id, _response(request_id, 200, body), None)


def reused(
    request_id: str,
    custom_id: str,
    body: dict[str, Any],
    *,
    model: str,
    is_priced: bool,
    metadata: dict[str, str] | None,
    origin: Any,
) -> bytes:
    """Return the output line of a request that has the answer of an earlier one.

    `body` is the earlier answer, whose values are raw JSON, and `origin` says where it
    was computed. It keeps its time, seed, fingerprint and tokens, and costs nothing.
    """
    usage = msgspec.json.decode(body["usage"], type=dict[str, msgspec.Raw])
    own = {
        "id": f"chatcmpl-{request_id.removeprefix('batch_req_')}",
        "model": model,
        "usage": {**usage, "estimated_cost": 0 if is_priced else None},
        "reused_from": origin,
    }
    copied = {**body, **own}
    copied.pop("metadata", None)
    if metadata:
        copied["metadata"] = metadata
    return _line(request_id, custom_id, _response(request_id, 200, copied), None)


def refused(request_id: str, custom_id: str, error: RequestRefusedError) -> bytes:
    """Return the error line of a request that was refused."""
    status = error.status_code
    body = _error_body(error.message, error.code, error.param, status)
    response = _response(request_id, status, body)
    return _line(request_id, custom_id, response, None)


def invalid(request_id: str, bad: InvalidLine, row: str = "") -> bytes:
    """Return the error line of an input line without a valid request.

    Fields are named from the body on, as in answers to single requests. If the line was
    made of a `row`, the error names that. Without a custom_id, it has the number of the
    line.
    """
    problems = [(problem, _field(problem)) for problem in bad.problems]
    message = "; ".join(f"{at}: {p.message}" if at else p.message for p, at in problems)
    if row or bad.custom_id is None:
        message = f"{row or f'line {bad.line}'}: {message}"
    first, param = problems[0]
    body = _error_body(message, first.code, param, 400)
    return _line(request_id, bad.custom_id, _response(request_id, 400, body), None)


def _field(problem: Problem) -> str | None:
    return problem.param and problem.param.removeprefix("body.")


def never_run(request_id: str, custom_id: str | None, code: str, message: str) -> bytes:
    """Return the error line of a request that was never run."""
    return _line(request_id, custom_id, None, {"code": code, "message": message})


def _turn(turn: GeneratedTurn, seed: int) -> dict[str, Any]:
    """Return a generated turn: its position in the messages, and its answer."""
    answer = _choice(turn.completion.choices[0], seed)
    return answer | {"index": turn.index, "usage": _tokens(turn.completion)}


def _tokens(completion: Completion) -> dict[str, Any]:
    tokens: dict[str, Any] = {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "total_tokens": completion.prompt_tokens + completion.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": completion.cached_tokens},
    }
    if completion.reasoning_tokens is not None:
        details = {"reasoning_tokens": completion.reasoning_tokens}
        tokens["completion_tokens_details"] = details
    return tokens


def _choice(choice: Choice, seed: int) -> dict[str, Any]:
    """Return a choice; `seed` is that of the first choice."""
    logprobs = choice.logprobs
    return {
        "index": choice.index,
        "message": _message(choice),
        "logprobs": None
        if logprobs is None
        else {"content": logprobs, "refusal": None},
        "finish_reason": choice.finish_reason,
        "stop_reason": choice.stop_reason,
        "seed": nth_seed(seed, choice.index),
    }


def _message(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.text,
        "refusal": None,
    }
    if choice.tool_calls:
        message["tool_calls"] = choice.tool_calls
    if choice.reasoning is not None:
        message["reasoning"] = choice.reasoning
    return message


def _error_body(
    message: str, code: str, param: str | None, status: int
) -> dict[str, Any]:
    is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = "server_error" if is_server_error else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _response(
    request_id: str, status_code: int, body: dict[str, Any]
) -> dict[str, Any]:
    return {"status_code": status_code, "request_id": request_id, "body": body}


def _line(
    request_id: str,
    custom_id: str | None,
    response: dict[str, Any] | None,
    error: dict[str, Any] | None,
) -> bytes:
    line = {
        "id": request_id,
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    return encode(line)
