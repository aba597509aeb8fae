"""Narrow types for text-only lines, which most files consist of.

A line without tools, generated turns, formats and multiple choices has no fields that
could contradict each other, so it is valid if its types are. The planner decodes such
lines with these types, which come from the same table as those of `schema`, and skips
all other checks. Lines that do not fit these types may still be valid: they are parsed
in the ordinary way.
"""

from collections import Counter
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from batchchat.jobs.requests.ignored_fields import COUNTED_PARAMETERS
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
    name: String | UnsetType | None = UNSET
    tool_call_id: String | UnsetType | None = UNSET
    tool_calls: UnsetType | None = UNSET
    reasoning: UnsetType | None = UNSET
    reasoning_content: UnsetType | None = UNSET
    refusal: UnsetType | None = UNSET
    function_call: UnsetType | None = UNSET
    audio: UnsetType | None = UNSET
    annotations: Annotated[list[Any], Meta(max_length=0)] | UnsetType | None = UNSET


class _ConversationFields(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    messages: Annotated[list[_Message], Meta(min_length=1, max_length=MAX_MESSAGES)]
    model: str | UnsetType = UNSET


COUNTED = ("stream", "user")
"""Fields without effect that lines of the fast path may have."""

_RARE = {name for name in COUNTED_PARAMETERS if name not in COUNTED}
"""Fields without effect that are counted one line at a time."""


_Body: Any = msgspec.defstruct(
    "_Body",
    [
        (name, UnsetType | None, UNSET)
        if name in _CROSS_CHECKED | _RARE
        else (name, kind, default)
        for name, kind, default in FIELDS
    ],
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


def count_ignored(lines: list[TextOnlyLine]) -> Counter[str]:
    """Return how many lines ask for something with each of the `COUNTED` fields."""
    return Counter(
        stream=[line.body.stream for line in lines].count(True),
        user=[line.body.user.__class__ for line in lines].count(str),
    )
