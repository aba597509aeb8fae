"""Lines of plain text: what most lines of most files are, and what takes the time.

Where a line has no tools, no slots, no format and no children, no two of its fields
can disagree: what the types allow is right. So a planner reads such a line by
narrower types than those of `jobs.request`, made of the same table, and looks at
nothing else. A line that these types refuse is no worse: it is read the other way.
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
}
"""Fields of a body of which `jobs.combinations` has something to say."""


class _Message(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """Somebody's text; `Message.is_plain` says the same of a whole one."""

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
    """OpenAI's input line with a `_Body`; see `jobs.request.Line`."""

    custom_id: CustomId
    method: Literal["POST"]
    url: Literal["/v1/chat/completions"]
    body: _Body
