"""The types of an input line, from which the strict decoder is made.

The fields of a body come from the table of parameters, so a line that the decoder
accepts is valid in every type and range. A line that it rejects may have fields of
other servers that have no effect (`ignored_fields`). If it is invalid without them,
`diagnostics` reports all its problems.
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
    """Return the type that accepts exactly what the table allows."""
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
        "logit_bias": Annotated[dict[_TokenKey, number | None], most],  # type: ignore[valid-type]
        "metadata": Annotated[dict[String, String | None], most],
        "anything": Any,
        "typed": parameter.value_type,
    }
    return types[parameter.kind]


class TextPart(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A text part of a message's content."""

    text: str
    type: Literal["text"]


ANSWER_FIELDS = (
    "tool_calls",
    "reasoning",
    "reasoning_content",
    "refusal",
    "function_call",
)
"""What the assistant may say beside, or instead of, the content."""


class Message(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One message of the conversation.

    `tool_call_id` is the call that a tool's message answers. With `generate` it is a
    generated turn: an assistant message that the model fills in. Its `tools` to
    `structured_outputs` then replace those of the body. The last three fields belong to
    answers that are sent back. `make_canonical` unsets `function_call`.
    """

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | UnsetType | None = UNSET
    name: String | UnsetType | None = UNSET
    tool_call_id: String | UnsetType | None = UNSET
    tool_calls: schema_types.ToolCalls | UnsetType | None = UNSET
    reasoning: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType | None = UNSET
    generate: bool | UnsetType | None = UNSET
    tools: schema_types.Tools | UnsetType | None = UNSET
    tool_choice: schema_types.ToolChoice | UnsetType | None = UNSET
    response_format: schema_types.ResponseFormat | UnsetType | None = UNSET
    structured_outputs: schema_types.StructuredOutputs | UnsetType | None = UNSET
    refusal: str | UnsetType | None = UNSET
    function_call: schema_types.FunctionCall | UnsetType | None = UNSET
    audio: UnsetType | None = UNSET
    annotations: Annotated[list[Any], Meta(max_length=0)] | UnsetType | None = UNSET

    def text(self) -> str:
        """Return the content as one string; parts are joined as in vLLM.

        A refusal is what the assistant said instead of, or after, the content.
        """
        text = ""
        if isinstance(self.content, str):
            text = self.content
        elif isinstance(self.content, list):
            text = "\n".join(part.text for part in self.content)
        if self.refusal:
            return f"{text}\n{self.refusal}" if text else self.refusal
        return text

    @property
    def is_generated_turn(self) -> bool:
        """Whether the model is to fill in the message."""
        return self.generate is True

    @property
    def has_more_than_content(self) -> bool:
        """Whether the assistant said something beside the content."""
        return any(getattr(self, name) for name in ANSWER_FIELDS)

    @property
    def calls(self) -> list[schema_types.ToolCall]:
        """The tool calls of the assistant."""
        return self.tool_calls if isinstance(self.tool_calls, list) else []

    @property
    def is_text_only(self) -> bool:
        """Whether the message consists of text and nothing else."""
        return all_text_only((self,))


def all_text_only(messages: Iterable[Message]) -> bool:
    """Return whether all messages consist of text only; fast, for every line."""
    for message in messages:
        if not (
            message.content.__class__ in _TEXT_CLASSES
            and message.tool_calls is UNSET
            and message.generate is UNSET
            and message.reasoning is UNSET
            and message.reasoning_content is UNSET
            and message.refusal is UNSET
            and message.function_call is UNSET
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
"""The body of a chat completion; an absent field is UNSET, and null means absent."""


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """OpenAI's input line, with any body: the form of a line."""

    custom_id: CustomId
    method: Literal["POST"]
    url: Literal["/v1/chat/completions"]
    body: dict[str, Any]


class Line(Envelope, forbid_unknown_fields=True, gc=False):
    """OpenAI's input line."""

    body: Body


BodyLine: Any = msgspec.defstruct(
    "BodyLine",
    [("custom_id", CustomId | UnsetType | None, UNSET)],
    bases=(Body,),
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    gc=False,
)
"""A line that is only a body, with an optional custom_id (a convenience)."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """One valid request.

    `line` counts from 1 in the input file. `body` is a `Body`. `time` is the time that
    chat templates read, in Unix seconds; None means the time of rendering.
    `removed_fields` were on the line and have no effect; see `ignored_fields`.
    """

    line: int
    custom_id: str
    body: Any
    time: int | None = None
    removed_fields: tuple[str, ...] = ()

    def parameter(self, name: str) -> Any:
        """Return a parameter of the body, None if it is absent or null."""
        value = getattr(self.body, name)
        return None if value is UNSET else value


def default_custom_id(line: int) -> str:
    """Return the custom_id of a line that has none."""
    return f"request-{line}"
