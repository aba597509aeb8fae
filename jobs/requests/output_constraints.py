"""What a request demands of its answer: tools, a format, and reasoning."""

from typing import Any

import msgspec

from batchchat.jobs.requests.schema import Request

_FIELDS = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "structured_outputs",
    "reasoning_effort",
    "include_reasoning",
    "chat_template_kwargs",
)

OutputConstraints = dict[str, Any]
"""The fields of a body that constrain the answer beyond sampling, as plain JSON."""


def constraints_of(request: Request) -> OutputConstraints | None:
    """Return the constraints on the answer, None for plain text."""
    form = {
        name: msgspec.to_builtins(value)
        for name in _FIELDS
        if (value := request.parameter(name)) is not None
    }
    return form or None


def has_tools(request: Request) -> bool:
    """Return whether the model may call tools, so that the prompt describes them."""
    return request.parameter("tools") is not None and (
        request.parameter("tool_choice") != "none"
    )


def needs_grammar(request: Request) -> bool:
    """Return whether the answer must follow a grammar, which takes time to compile."""
    wanted = request.parameter("response_format")
    return (
        request.parameter("structured_outputs") is not None
        or (wanted is not None and wanted.type == "json_schema")
        or request.parameter("tool_choice") not in (None, "none", "auto")
    )


def template_arguments(request: Request) -> dict[str, Any]:
    """Return the variables that the request passes to the chat template.

    As in vLLM's server, `reasoning_effort` also sets `enable_thinking`.
    """
    effort = request.parameter("reasoning_effort")
    arguments: dict[str, Any] = {}
    if effort is not None:
        arguments = {"reasoning_effort": effort, "enable_thinking": effort != "none"}
    said = request.parameter("chat_template_kwargs")
    return arguments | (msgspec.to_builtins(said) if said is not None else {})
