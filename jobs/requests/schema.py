"""A request: one line of the input, decoded in one strict go.

The typed decoder is made from the table of parameters, so a line it accepts is
right in every type and range. A line it refuses goes to `jobs.diagnosis`, which
says everything that is wrong with it. What no type can say (duplicate keys,
which every JSON reader swallows) is looked for here as well.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from batchchat.jobs.requests import parameters, schema_types
from batchchat.jobs.requests.parameters import PARAMETERS, Parameter

ENDPOINT = "/v1/chat/completions"

String = Annotated[str, Meta(max_length=parameters.MAX_STRING_CHARS)]
_Word = Annotated[str, Meta(min_length=1, max_length=parameters.MAX_STRING_CHARS)]
_TokenKey = Annotated[
    str,
    Meta(
        pattern=r"^(0|[1-9][0-9]{0,8})\Z",
        description="must be a token id in decimal digits",
    ),
]
_TEXT_CLASSES = (str, list)
CustomId = Annotated[str, Meta(min_length=1, max_length=parameters.MAX_CUSTOM_ID_CHARS)]


def _bounded(kind: type, parameter: Parameter) -> Any:
    low = parameter.minimum
    above = (
        Meta(gt=parameter.exclusive_minimum)
        if parameter.exclusive_minimum is not None
        else Meta(ge=low)
    )
    return Annotated[kind, above, Meta(le=parameter.maximum)]


def _type(parameter: Parameter) -> Any:
    """Return the type that takes exactly what the table allows."""
    most = Meta(min_length=parameter.min_items or None, max_length=parameter.max_items)
    number, integer = _bounded(float, parameter), _bounded(int, parameter)
    types: dict[str, Any] = {
        "number": number,
        "integer": integer,
        "boolean": bool,
        "string": String,
        "stop": _Word | Annotated[list[_Word], most],
        "integers": Annotated[list[integer], most],  # type: ignore[valid-type]
        "strings": Annotated[list[_Word], most],
        "logit_bias": Annotated[dict[_TokenKey, number], most],  # type: ignore[valid-type]
        "metadata": Annotated[dict[String, String], most],
        "anything": Any,
        "typed": parameter.value_type,
    }
    return types[parameter.kind]


class TextPart(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A piece of a message's text."""

    text: str
    type: Literal["text"]


class Message(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One turn of the conversation; `tool_call_id` is what a tool's turn answers.

    With `generate` it is a slot: a turn of the assistant that the model fills, for
    which the four fields behind it count instead of the body's. The fields at the
    end are those of an answer that is handed in again; they may only be empty.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | UnsetType | None = UNSET
    name: String | UnsetType = UNSET
    tool_call_id: String | UnsetType = UNSET
    tool_calls: schema_types.ToolCalls | UnsetType | None = UNSET
    reasoning: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType | None = UNSET
    generate: bool | UnsetType = UNSET
    tools: schema_types.Tools | UnsetType = UNSET
    tool_choice: schema_types.ToolChoice | UnsetType = UNSET
    response_format: schema_types.ResponseFormat | UnsetType = UNSET
    structured_outputs: schema_types.StructuredOutputs | UnsetType = UNSET
    refusal: UnsetType | None = UNSET
    audio: UnsetType | None = UNSET
    function_call: UnsetType | None = UNSET
    annotations: Annotated[list[Any], Meta(max_length=0)] | UnsetType | None = UNSET

    def text(self) -> str:
        """Return the content as one string; parts are joined as vLLM does."""
        if isinstance(self.content, str):
            return self.content
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return ""

    @property
    def is_placeholder(self) -> bool:
        """Say whether the model is to fill it."""
        return self.generate is True

    @property
    def calls(self) -> list[schema_types.ToolCall]:
        """Return the tools that the assistant has called."""
        return self.tool_calls if isinstance(self.tool_calls, list) else []

    @property
    def is_text_only(self) -> bool:
        """Say whether it is somebody's text and nothing else."""
        return all_text_only((self,))


def all_text_only(messages: Iterable[Message]) -> bool:
    """Say whether all are somebody's text; every line is asked this, so it is quick."""
    for message in messages:
        if not (
            message.content.__class__ in _TEXT_CLASSES
            and message.tool_calls is UNSET
            and message.generate is UNSET
            and message.reasoning is UNSET
            and message.reasoning_content is UNSET
            and message.tools is UNSET
            and message.tool_choice is UNSET
            and message.response_format is UNSET
            and message.structured_outputs is UNSET
        ):
            return False
    return True


class _ConversationFields(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    messages: Annotated[
        list[Message], Meta(min_length=1, max_length=parameters.MAX_MESSAGES)
    ]
    model: str | UnsetType | None = UNSET


FIELDS = [
    (name, _type(parameter) | None | UnsetType, UNSET)
    if parameter.kind != "anything"
    else (name, Any, UNSET)
    for name, parameter in PARAMETERS.items()
]

Body: Any = msgspec.defstruct(
    "Body",
    FIELDS,
    bases=(_ConversationFields,),
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    gc=False,
)
"""A chat completion body; an absent field is UNSET, and null means absent."""


class Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """OpenAI's input line."""

    custom_id: CustomId
    method: Literal["POST"]
    url: Literal["/v1/chat/completions"]
    body: Body


BodyLine: Any = msgspec.defstruct(
    "BodyLine",
    [("custom_id", CustomId | UnsetType, UNSET)],
    bases=(Body,),
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    gc=False,
)
"""A body alone, with or without its custom_id, as a convenience."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request, checked.

    `line` counts from 1 in the input file. `body` is a `Body`.
    """

    line: int
    custom_id: str
    body: Any

    def parameter(self, name: str) -> Any:
        """Return a parameter of the body, None where absent or null."""
        value = getattr(self.body, name)
        return None if value is UNSET else value


def default_custom_id(line: int) -> str:
    """Return the custom_id of a body alone that brings none."""
    return f"request-{line}"
