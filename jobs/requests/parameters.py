"""The parameters of a chat completion, with their types and ranges, as data.

The decoder (`schema`), the diagnosis of invalid lines (`diagnostics`) and the tables
of `docs/requests.md` come from this table. A bool is never a number and `5.0` never an
integer: vLLM's `SamplingParams` accepts both, and its engine then hangs.

A range is the narrowest of those in DeepInfra's model pages, OpenAI's chat completion
reference and vLLM.
"""

from dataclasses import dataclass
from typing import Any, Literal

from batchchat.jobs.requests import schema_types

Kind = Literal[
    "number",
    "integer",
    "boolean",
    "string",
    "stop",
    "integers",
    "strings",
    "logit_bias",
    "metadata",
    "anything",
    "typed",
]

MAX_SEED = 2**63 - 1
"""The largest int64; DeepInfra's pages show it as rounded by JavaScript."""

MAX_LIST_ITEMS = 256
"""Length of a list of tokens or words."""

MAX_STRING_CHARS = 1024
"""Length of a stop string, a bad word or a user's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One field of a body; bounds apply to a number, or to the numbers of a list."""

    kind: Kind
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    min_items: int = 0
    max_items: int = MAX_LIST_ITEMS
    has_effect: bool = True
    """Whether it affects the answer; other fields are accepted and ignored."""
    neutral: tuple[Any, ...] = ()
    """Values of an ignored field that ask for nothing, so that they are not counted."""
    is_returned: bool = False
    """Whether an ignored field is returned with the answer."""
    value_type: Any = None
    """The type of a `typed` field; see `schema_types`."""

    def describe_range(self) -> str:
        """Return the bounds in words, empty if there are none."""
        return describe_range(self.minimum, self.exclusive_minimum, self.maximum)


def describe_range(
    minimum: float | None, exclusive_minimum: float | None, maximum: float | None
) -> str:
    """Return bounds in words, empty if there are none."""
    low = f"at least {minimum}" if minimum is not None else ""
    low = low or (f"above {exclusive_minimum}" if exclusive_minimum is not None else "")
    high = f"at most {maximum}" if maximum is not None else ""
    return " and ".join(filter(None, (low, high)))


def _number(**bounds: float) -> Parameter:
    return Parameter(kind="number", **bounds)  # type: ignore[arg-type]


def _integer(**bounds: int) -> Parameter:
    return Parameter(kind="integer", **bounds)  # type: ignore[arg-type]


def _typed(value_type: Any) -> Parameter:
    return Parameter(kind="typed", value_type=value_type)


def _ignored(kind: Kind, neutral: tuple[Any, ...] = ()) -> Parameter:
    return Parameter(kind=kind, has_effect=False, neutral=neutral)


PARAMETERS: dict[str, Parameter] = {
    "temperature": _number(minimum=0, maximum=2),
    "top_p": _number(exclusive_minimum=0, maximum=1),
    "min_p": _number(minimum=0, maximum=1),
    "top_k": _integer(minimum=-1, maximum=999),  # -1 disables it, as in vLLM
    "max_tokens": _integer(minimum=0, maximum=1_000_000),
    "max_completion_tokens": _integer(minimum=0, maximum=1_000_000),
    "min_tokens": _integer(minimum=0, maximum=1_000_000),
    "presence_penalty": _number(minimum=-2, maximum=2),
    "frequency_penalty": _number(minimum=-2, maximum=2),
    "repetition_penalty": _number(minimum=0.01, maximum=5),
    "seed": _integer(minimum=-1, maximum=MAX_SEED),  # -1 is none, as in vLLM
    "n": _integer(minimum=1, maximum=128),
    "stop": Parameter(kind="stop", max_items=4),
    "stop_token_ids": Parameter(kind="integers", minimum=0, maximum=2**31 - 1),
    "allowed_token_ids": Parameter(  # an empty list would allow no answer
        kind="integers", minimum=0, maximum=2**31 - 1, min_items=1
    ),
    "bad_words": Parameter(kind="strings", max_items=128),  # vLLM's own limit
    "logit_bias": Parameter(
        kind="logit_bias", minimum=-100, maximum=100, max_items=300
    ),
    "logprobs": Parameter(kind="boolean"),
    "top_logprobs": _integer(minimum=0, maximum=20),
    "ignore_eos": Parameter(kind="boolean"),
    "skip_special_tokens": Parameter(kind="boolean"),
    "spaces_between_special_tokens": Parameter(kind="boolean"),
    "include_stop_str_in_output": Parameter(kind="boolean"),
    "tools": _typed(schema_types.Tools),
    "tool_choice": _typed(schema_types.ToolChoice),
    "parallel_tool_calls": Parameter(kind="boolean"),
    "response_format": _typed(schema_types.ResponseFormat),
    "structured_outputs": _typed(schema_types.StructuredOutputs),
    "reasoning_effort": _typed(schema_types.ReasoningEffort),
    "include_reasoning": Parameter(kind="boolean"),
    "chat_template_kwargs": _typed(schema_types.TemplateArguments),
    "stream": _ignored("boolean", (False,)),
    "user": _ignored("string"),
    "metadata": Parameter(
        kind="metadata", max_items=16, has_effect=False, is_returned=True
    ),
    "store": _ignored("boolean", (False,)),
    "service_tier": _ignored("string", ("auto", "default")),
    "safety_identifier": _ignored("string"),
    "prompt_cache_key": _ignored("string"),
    "prompt_cache_retention": _ignored("string"),
    "stream_options": _ignored("anything"),
}

MAX_MESSAGES = 4096
MAX_CUSTOM_ID_CHARS = 512
"""OpenAI does not publish its own limit."""
