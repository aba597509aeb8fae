"""Types of the objects in a body: tools, answer formats, template arguments.

The decoder checks them while it parses, with bounds on everything that a hostile line
could make large. `cross_field_checks` has the rules that types can't express: exactly
one of several fields, a named tool that exists, the size of a schema.

Sources: OpenAI's chat completion reference, and vLLM's `ChatCompletionRequest`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

MAX_TOOLS = 128
MAX_SCHEMA_BYTES = 64 * 1024
"""Size of a schema or of a tool's parameters, encoded as JSON."""

MAX_SCHEMA_DEPTH = 32
"""Nesting of objects and arrays in a schema; vLLM's own limit is 64."""

MAX_ARGUMENTS_DEPTH = 64
"""Nesting of objects and arrays in the arguments of a tool call."""

MAX_PATTERN_CHARS = 2048
"""Length of a regular expression."""

MAX_GRAMMAR_CHARS = 32 * 1024
MAX_CHOICES = 1000
MAX_TEMPLATE_ARGUMENTS = 32
MAX_TEMPLATE_TEXT_CHARS = 4096

_Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-zA-Z0-9_.\-]{1,64}\Z",
        description="must have 1 to 64 letters, digits, `_`, `.` or `-`",
    ),
]
_Text = Annotated[str, Meta(max_length=MAX_GRAMMAR_CHARS)]
_Choice = Annotated[str, Meta(min_length=1, max_length=1024)]


class _StrictStruct(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """An object that rejects unknown fields."""


class Function(_StrictStruct):
    """A tool's function; `parameters` is the JSON schema of its arguments."""

    name: _Name
    description: _Text | UnsetType | None = UNSET
    parameters: dict[str, Any] | UnsetType | None = UNSET
    strict: bool | UnsetType | None = UNSET


class Tool(_StrictStruct):
    """A function that the model may call."""

    type: Literal["function"]
    function: Function


class _FunctionName(_StrictStruct):
    name: _Name


class NamedToolChoice(_StrictStruct):
    """The `tool_choice` of one function, which must be called."""

    type: Literal["function"]
    function: _FunctionName


class FunctionCall(_StrictStruct):
    """A call of a function; `arguments` is the text that the model generated.

    `make_canonical` writes an object, as datasets have it, as text.
    """

    name: _Name
    arguments: str | dict[str, Any]


class ToolCall(_StrictStruct):
    """A tool call that an assistant made earlier in the conversation."""

    id: Annotated[str, Meta(max_length=1024)]
    type: Literal["function"]
    function: FunctionCall


class JsonSchema(_StrictStruct):
    """The schema that an answer must follow; `strict` has no effect."""

    name: _Name
    schema: dict[str, Any] | UnsetType | None = UNSET
    description: _Text | UnsetType | None = UNSET
    strict: bool | UnsetType | None = UNSET


class ResponseFormat(_StrictStruct):
    """OpenAI's `response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | UnsetType | None = UNSET


class StructuredOutputs(_StrictStruct):
    """vLLM's `structured_outputs`: exactly one of these fields."""

    json: dict[str, Any] | UnsetType | None = UNSET
    regex: Annotated[str, Meta(max_length=MAX_PATTERN_CHARS)] | UnsetType | None = UNSET
    choice: (
        Annotated[list[_Choice], Meta(min_length=1, max_length=MAX_CHOICES)]
        | UnsetType
        | None
    ) = UNSET
    grammar: (
        Annotated[str, Meta(min_length=1, max_length=MAX_GRAMMAR_CHARS)]
        | UnsetType
        | None
    ) = UNSET
    json_object: bool | UnsetType | None = UNSET


_TemplateArgument = (
    bool
    | Annotated[int, Meta(ge=-(2**53), le=2**53)]
    | float
    | Annotated[str, Meta(max_length=MAX_TEMPLATE_TEXT_CHARS)]
    | None
)
"""A variable of the chat template; no container, since a template may loop over it."""

TemplateArguments = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], _TemplateArgument],
    Meta(max_length=MAX_TEMPLATE_ARGUMENTS),
]
Tools = Annotated[list[Tool], Meta(min_length=1, max_length=MAX_TOOLS)]
ToolCalls = Annotated[list[ToolCall], Meta(max_length=MAX_TOOLS)]
ToolChoice = Literal["none", "auto", "required"] | NamedToolChoice
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
