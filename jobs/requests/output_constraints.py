"""The form that an answer must have: tools to call, a format, how it may reason."""

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
"""Fields of a body, as JSON has them, which say more than how tokens are drawn."""


def constraints_of(request: Request) -> OutputConstraints | None:
    """Return the form that the request asks for, None for plain text."""
    form = {
        name: msgspec.to_builtins(value)
        for name in _FIELDS
        if (value := request.parameter(name)) is not None
    }
    return form or None


def has_tools(request: Request) -> bool:
    """Say whether the model is to know its tools: they are there to be called."""
    return request.parameter("tools") is not None and (
        request.parameter("tool_choice") != "none"
    )


def needs_grammar(request: Request) -> bool:
    """Say whether the answer is held to a grammar, which takes time to try."""
    wanted = request.parameter("response_format")
    return (
        request.parameter("structured_outputs") is not None
        or (wanted is not None and wanted.type == "json_schema")
        or request.parameter("tool_choice") not in (None, "none", "auto")
    )


def template_arguments(request: Request) -> dict[str, Any]:
    """Return what the request says to its model's template.

    An effort to reason also switches thinking on or off, for templates that ask
    for that, as vLLM's server has it.
    """
    effort = request.parameter("reasoning_effort")
    arguments: dict[str, Any] = {}
    if effort is not None:
        arguments = {"reasoning_effort": effort, "enable_thinking": effort != "none"}
    said = request.parameter("chat_template_kwargs")
    return arguments | (msgspec.to_builtins(said) if said is not None else {})
