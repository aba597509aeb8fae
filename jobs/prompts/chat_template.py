"""Renders a conversation into a prompt with a model's chat template."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from jinja2 import TemplateError

from batchchat.jobs.errors import ConfigError, RequestRefusedError
from batchchat.jobs.prompts.completeness import missing_message
from batchchat.jobs.prompts.limited_template import (
    HINT,
    LimitedTemplate,
    RenderLimits,
    TemplateLimitError,
)
from batchchat.jobs.requests.schema import Message
from batchchat.jobs.requests.schema_types import Tool, ToolCall

_TEMPLATE_ERRORS = (
    TemplateError,
    ArithmeticError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template may raise for a conversation that it does not support."""


ADDS_SPACE = "tokenizer_adds_space"
"""A variable of built-in templates: whether the tokenizer puts a space after a special
token; undefined without a tokenizer."""

_RESERVED = ("messages", "tools", "documents", "add_generation_prompt", ADDS_SPACE)
"""Variables that the renderer sets, besides the special tokens."""

CLOCK = "strftime_now"
"""The name of transformers' function that returns the current time."""


_LIMITS = RenderLimits()
LIMIT_EXCEEDED = "template_limit_exceeded"
_MAX_ERROR_CHARACTERS = 1_000


class ChatTemplate:
    """A compiled template and the special tokens that it may refer to."""

    def __init__(
        self,
        source: str,
        special_tokens: dict[str, str],
        label: str = "the chat template",
        limits: RenderLimits = _LIMITS,
        *,
        adds_space: bool | None = None,
    ) -> None:
        """Compile `source`; errors call it `label`.

        With `adds_space`, the tokenizer itself puts a space after a special token; None
        without a tokenizer.

        Raises:
            ConfigError: `source` is not a valid template.

        """
        self._template = LimitedTemplate(source, label, limits)
        self.source = source
        self._special_tokens = special_tokens
        self._spacing = {} if adds_space is None else {ADDS_SPACE: adds_space}
        self._supports_developer = "developer" in source
        variables = self._template.variables
        self.variables = variables - {*_RESERVED, *special_tokens}
        self._supports_tools = "tools" in variables
        self.reads_time = CLOCK in variables
        self._supports_tool_calls = "tool_calls" in source

    def check_limits(self) -> None:
        """Raise `ConfigError` if even a short conversation exceeds a limit."""
        try:
            self.render([Message(role="user", content="Hello")])
        except RequestRefusedError as error:
            if error.code == LIMIT_EXCEEDED:
                raise ConfigError(error.message, hint=HINT) from None

    def render(
        self,
        messages: list[Message],
        tools: list[Tool] | None = None,
        *,
        require_tool_support: bool = True,
        require_all_messages: bool = False,
        transform: Callable[[str], str] = str,
        time: int | None = None,
        **arguments: Any,
    ) -> str:
        """Return the prompt, up to where the answer begins.

        With `require_tool_support`, a template that ignores tools is an error; with
        `require_all_messages`, one that leaves out the content of a message.
        `transform` is applied to every text of the request. `arguments` are further
        variables of the template. A template that reads the clock reads `time`, which
        is in Unix seconds and shown in UTC, or the `strftime_now` of the arguments, in
        ISO 8601.

        Raises:
            RequestRefusedError: the template does not support this conversation.

        """
        self._check(messages, tools if require_tool_support else None)
        tool_dicts = map_texts([*map(tool_for_template, tools or ())], transform)
        turns = [self._turn(message) for message in messages]
        if self.reads_time:
            arguments[CLOCK] = _clock(time, arguments.get(CLOCK))
        try:
            prompt = self._template.render(
                {
                    "messages": map_texts(turns, transform),
                    "add_generation_prompt": True,
                    "tools": tool_dicts or None,
                    "documents": None,
                    **self._special_tokens,
                    **self._spacing,
                    **_mapped(arguments, transform),
                }
            )
        except TemplateLimitError as error:
            raise _rejection(str(error), LIMIT_EXCEEDED) from None
        except _TEMPLATE_ERRORS as error:
            text = str(error)[:_MAX_ERROR_CHARACTERS]
            raise _rejection(
                f"the model's chat template rejects the conversation: {text}"
            ) from None
        if require_all_messages:
            _check_messages(turns, prompt)
        return prompt

    def _check(self, messages: list[Message], tools: list[Tool] | None) -> None:
        """Reject what the template would silently ignore."""
        if tools and not self._supports_tools:
            raise RequestRefusedError(
                "the model's chat template does not support tools",
                code="unsupported_parameter",
                param="tools",
            )
        if not self._supports_tool_calls and any(message.calls for message in messages):
            raise RequestRefusedError(
                "the model's chat template does not support `tool_calls` in messages",
                code="unsupported_parameter",
                param="messages",
            )

    def _turn(self, message: Message) -> dict[str, Any]:
        """Return a message in the form that this template expects."""
        turn = message_for_template(message)
        if message.role == "developer" and not self._supports_developer:
            turn["role"] = "system"
        return turn


def _rejection(message: str, code: str = "invalid_value") -> RequestRefusedError:
    return RequestRefusedError(message, code=code, param="messages")


def _check_messages(turns: list[dict[str, Any]], prompt: str) -> None:
    missing = missing_message(turns, prompt)
    if missing is not None:
        raise RequestRefusedError(
            f"the model's chat template leaves out message {missing + 1} of"
            f" {len(turns)}, with the role `{turns[missing]['role']}`; set another"
            " `chat_template` for the model in the catalog, or change the conversation",
            code="invalid_value",
            param=f"messages[{missing}]",
        )


def message_for_template(message: Message) -> dict[str, Any]:
    """Return a message in the form that vLLM passes to templates.

    Raises:
        RequestRefusedError: the arguments of a tool call can't be passed on.

    """
    turn: dict[str, Any] = {"role": message.role, "content": message.text()}
    for name in ("name", "tool_call_id"):
        if isinstance(value := getattr(message, name), str):
            turn[name] = value
    if message.calls:
        turn["tool_calls"] = [_call(call) for call in message.calls]
    reasoning = message.reasoning or message.reasoning_content
    if reasoning:
        turn["reasoning"] = turn["reasoning_content"] = reasoning
    return turn


def tool_for_template(tool: Tool) -> dict[str, Any]:
    """Return a tool with null for absent fields, as in vLLM's server."""
    function = tool.function
    given = {"name": function.name, "description": None, "parameters": None}
    return {"type": "function", "function": given | msgspec.to_builtins(function)}


def map_texts(value: Any, transform: Callable[[str], str]) -> Any:
    """Return `value` with `transform` applied to every text in it, including keys."""
    if transform is str:
        return value
    if isinstance(value, str):
        return transform(value)
    if isinstance(value, dict):
        return {transform(k): map_texts(v, transform) for k, v in value.items()}
    if isinstance(value, list):
        return [map_texts(item, transform) for item in value]
    return value


def _mapped(
    arguments: dict[str, Any], transform: Callable[[str], str]
) -> dict[str, Any]:
    """Return arguments with `transform` applied to their values, but not the names."""
    if transform is str:
        return arguments
    return {name: map_texts(value, transform) for name, value in arguments.items()}


def _call(call: ToolCall) -> dict[str, Any]:
    """Return a call with its arguments as an object, as templates expect.

    Arguments that are not a JSON object become an empty object, as in vLLM.
    """
    try:
        given = call.function.arguments
        arguments = json.loads(given or "{}") if isinstance(given, str) else given
        json.dumps(arguments, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _bad_call("have an unpaired surrogate (such as `\\ud800`)") from None
    except ValueError:
        arguments = {}
    except RecursionError:
        raise _bad_call("are nested too deeply") from None
    if not isinstance(arguments, dict):
        arguments = {}
    function = {"name": call.function.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _bad_call(reason: str) -> RequestRefusedError:
    return RequestRefusedError(
        f"the arguments of a tool call {reason}",
        code="invalid_value",
        param="messages",
    )


def _clock(time: int | None, chosen: Any) -> Callable[[str], str]:
    """Return the function that formats the time that a template reads."""
    if chosen is None:
        now = datetime.now(UTC) if time is None else datetime.fromtimestamp(time, UTC)
    else:
        try:
            now = datetime.fromisoformat(chosen)
        except (TypeError, ValueError):
            raise RequestRefusedError(
                f"`{CLOCK}` must be a time in ISO 8601, such as `2026-07-01T12:00:00`",
                code="invalid_value",
                param=f"chat_template_kwargs.{CLOCK}",
            ) from None
    return now.replace(tzinfo=None).strftime  # as in transformers, without a zone
