"""Narrow types for text-only lines, which most files consist of.

A line without tools, generated turns, formats and multiple choices has no fields that
could contradict each other, so it is valid if its types are. The planner decodes such
lines with these types, which come from the same table as those of `schema`, and skips
all other checks. Lines that do not fit these types may still be valid: they are parsed
in the ordinary way.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from batchchat.jobs.requests.parameters import MAX_MESSAGES
from batchchat.jobs.requests.schema import FIELDS, CustomId, String, TextPart

_CROSS_CHECKED = {
    "n",
    "top_logprobs",
    "min_tokens",
    "tools",
    "tool_choice",
    "response_format",
    "structured_outputs",
    "chat_template_kwargs",
}
"""Fields that `cross_field_checks` looks at, or that depend on the chat template."""


class _Message(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """A message for which `Message.is_text_only` would be true."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart]
    name: String | UnsetType = UNSET
    tool_call_id: String | UnsetType = UNSET


class _ConversationFields(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    messages: Annotated[list[_Message], Meta(min_length=1, max_length=MAX_MESSAGES)]
    model: str | UnsetType = UNSET


_Body: Any = msgspec.defstruct(
    "_Body",
    [field for field in FIELDS if field[0] not in _CROSS_CHECKED],
    bases=(_ConversationFields,),
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    gc=False,
)


class TextOnlyLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """OpenAI's input line with a `_Body`; see `schema.Line`."""

    custom_id: CustomId
    method: Literal["POST"]
    url: Literal["/v1/chat/completions"]
    body: _Body
