"""A request: one line of the input, decoded in one strict go.

The typed decoder is made from the table of parameters, so a line it accepts is
right in every type and range. A line it refuses goes to `jobs.diagnosis`, which
says everything that is wrong with it. What no type can say (duplicate keys,
which every JSON reader swallows) is looked for here as well.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jobs import parameters
from jobs.parameters import PARAMETERS, Parameter

ENDPOINT = "/v1/chat/completions"

_String = Annotated[str, Meta(max_length=parameters.MAX_STRING)]
_Word = Annotated[str, Meta(min_length=1, max_length=parameters.MAX_STRING)]
_TokenKey = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,8})\Z")]
CustomId = Annotated[str, Meta(min_length=1, max_length=parameters.MAX_CUSTOM_ID)]


def _bounded(kind: type, parameter: Parameter) -> Any:
    low = parameter.at_least
    above = Meta(gt=parameter.above) if parameter.above is not None else Meta(ge=low)
    return Annotated[kind, above, Meta(le=parameter.at_most)]


def _type(parameter: Parameter) -> Any:
    """Return the type that takes exactly what the table allows."""
    most = Meta(max_length=parameter.most)
    number, integer = _bounded(float, parameter), _bounded(int, parameter)
    types: dict[str, Any] = {
        "number": number,
        "integer": integer,
        "boolean": bool,
        "string": _String,
        "stop": _Word | Annotated[list[_Word], most],
        "integers": Annotated[list[integer], most],  # type: ignore[valid-type]
        "strings": Annotated[list[_Word], most],
        "logit_bias": Annotated[dict[_TokenKey, number], most],  # type: ignore[valid-type]
        "metadata": Annotated[dict[_String, _String], most],
        "anything": Any,
    }
    return types[parameter.kind]


class TextPart(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A piece of a message's text."""

    text: str
    type: Literal["text"]


class Message(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One turn of the conversation; `tool_call_id` is what a tool's turn answers."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart]
    name: _String | UnsetType = UNSET
    tool_call_id: _String | UnsetType = UNSET

    def text(self) -> str:
        """Return the content as one string; parts are joined as vLLM does."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class _Conversation(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    messages: Annotated[
        list[Message], Meta(min_length=1, max_length=parameters.MAX_MESSAGES)
    ]
    model: str | UnsetType | None = UNSET


_FIELDS = [
    (name, _type(parameter) | None | UnsetType, UNSET)
    if parameter.kind != "anything"
    else (name, Any, UNSET)
    for name, parameter in PARAMETERS.items()
]

Body: Any = msgspec.defstruct(
    "Body",
    _FIELDS,
    bases=(_Conversation,),
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    gc=False,
)
"""A chat completion body; an absent field is UNSET, and null means absent."""


class Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """OpenAI's input line."""

    custom_id: CustomId
    body: Body
    method: Literal["POST"]
    url: Literal["/v1/chat/completions"]


Bare: Any = msgspec.defstruct(
    "Bare",
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

    def given(self, name: str) -> Any:
        """Return a parameter of the body, None where absent or null."""
        value = getattr(self.body, name)
        return None if value is UNSET else value


def default_custom_id(line: int) -> str:
    """Return the custom_id of a body alone that brings none."""
    return f"request-{line}"
