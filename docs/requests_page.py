"""Writes the tables of `docs/requests.md` from those of the parameters: `make docs`."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batchchat.jobs.requests import schema_types as shapes
from batchchat.jobs.requests.parameters import (
    MAX_MESSAGES,
    PARAMETERS,
    REFUSED,
    Parameter,
)
from batchchat.jobs.requests.parser import Invalid, Parser

SEEN = {
    "temperature": (
        "0 is greedy, and above 0 at least 0.01: vLLM raises it",
        "0: two seeds, one answer",
        "greedy",
    ),
    "top_p": ("", "0.000001: two seeds, one answer", "warm"),
    "min_p": ("", "1: two seeds, one answer", "min_p"),
    "top_k": ("0 is off", "1: two seeds, one answer", "top_k"),
    "max_tokens": (
        "0 is answered with no tokens and no engine",
        "5: 5 tokens, `length`",
        "plain",
    ),
    "max_completion_tokens": (
        "wins over `max_tokens`",
        "5 beside `max_tokens` 9: 5 tokens",
        "the newer limit",
    ),
    "min_tokens": ("", "6: an answer that stops after 1 token has 6", "min_tokens"),
    "presence_penalty": (
        "counts the answer's tokens",
        "2: another greedy answer",
        "penalties",
    ),
    "frequency_penalty": (
        "counts the answer's tokens",
        "2: another greedy answer",
        "penalties",
    ),
    "repetition_penalty": (
        "counts the prompt's tokens too",
        "5: another greedy answer",
        "repetition",
    ),
    "seed": (
        "absent: made from the batch's seed and the custom_id",
        "one seed, one answer; two seeds, two",
        "plain",
    ),
    "n": (
        "choice i has seed + i; 1 with temperature 0 and with slots",
        "3: three answers, all different",
        "n",
    ),
    "stop": ("the catalog's stop strings come on top", "cut before it", "stop"),
    "stop_token_ids": (
        "the catalog's come on top",
        "ends there, and `stop_reason` says it",
        "stop token",
    ),
    "allowed_token_ids": ("", "two letters: no other appears", "allowed tokens"),
    "bad_words": (
        "vLLM counts one with and without a blank before it",
        "of two letters the other remains",
        "bad words",
    ),
    "logit_bias": ("by token id", "100: that token and no other", "logit_bias"),
    "logprobs": ("", "one for each token", "logprobs"),
    "top_logprobs": ("needs `logprobs`", "4: four for each token", "logprobs"),
    "ignore_eos": ("", "goes on to `max_tokens`", "ignore_eos"),
    "skip_special_tokens": ("", "false: they are read", "special tokens"),
    "spaces_between_special_tokens": (
        "",
        "none: the demo's tokenizer writes no blanks there",
        "no spaces",
    ),
    "include_stop_str_in_output": ("", "ends with it", "stop, included"),
    "tools": ("functions, 128 at most", "a longer prompt", "tools"),
    "tool_choice": (
        "`none`, `auto`, `required`, or one by name",
        "by name: that one is called",
        "this tool",
    ),
    "parallel_tool_calls": ("false: one call at most", "one call", "one tool"),
    "response_format": (
        "`text`, `json_object`, `json_schema`",
        "JSON with the schema's fields",
        "json schema",
    ),
    "structured_outputs": (
        "one of `json`, `regex`, `choice`, `grammar`, `json_object`",
        "one of the choices",
        "grammar",
    ),
    "reasoning_effort": ("given to the template", "the template reads it", "effort"),
    "include_reasoning": (
        "false: the answer without it",
        "by vLLM's parser alone: the demo does not reason",
        "plain",
    ),
    "chat_template_kwargs": (
        "`enable_thinking` and `thinking`",
        "the template reads it",
        "thinking",
    ),
}
"""What to know of each field, its effect, and its line beside `vllm run-batch`.

The effects are those of `tests/integration/test_effects.py`.
"""

WRONG: dict[str, list[Any]] = {
    "number": ["1", True],
    "integer": [1.5, "1", True],
    "boolean": ["true", 1],
    "stop": [7, "", ["a"] * 5],
    "integers": [5, [1.5], [-1]],
    "strings": ["a", [7], [""]],
    "logit_bias": [[], {"a": 1}, {"5": True}],
}
"""Values that no field of a kind takes."""

WRONG_SHAPES: dict[str, list[Any]] = {
    "tools": [{}, []],
    "tool_choice": ["any", "auto"],
    "response_format": ["json", {"type": "xml"}],
    "structured_outputs": ["a", {}],
    "reasoning_effort": [1, "much"],
    "chat_template_kwargs": [True, {"messages": []}],
}
_CUT = 24
"""Characters of a value that are shown."""

_HEAD = "field", "range", "refused, with", "to know", "effect seen", "compared"

PAGE = Path(__file__).with_name("requests.md")


def page() -> str:
    """Return the page, with its tables as they should be."""
    text = PAGE.read_text("utf-8")
    for name, table in _tables().items():
        part = f"<!-- {name} -->\n{table}\n<!-- end -->"
        text = re.sub(f"<!-- {name} -->.*?<!-- end -->", part, text, flags=re.DOTALL)
    return text


def _tables() -> dict[str, str]:
    used = [name for name, parameter in PARAMETERS.items() if parameter.used]
    unused = [f"`{name}`" for name in PARAMETERS if name not in used]
    limits = {
        "messages": f"{MAX_MESSAGES:,}",
        "a schema, or a tool's parameters": f"{shapes.MAX_SCHEMA_BYTES:,} bytes of"
        f" JSON, {shapes.MAX_SCHEMA_DEPTH} levels",
        "the arguments of a call": f"{shapes.MAX_ARGUMENTS_DEPTH} levels",
        "a regular expression": f"{shapes.MAX_PATTERN:,} characters",
        "a grammar": f"{shapes.MAX_GRAMMAR:,} characters",
        "choices": f"{shapes.MAX_CHOICES:,}",
        "tools": f"{shapes.MAX_TOOLS}",
    }
    return {
        "fields": _table(_HEAD, map(_row, used)),
        "unused": f"{', '.join(unused)}.",
        "refused": _table(
            ("field", "why"), ((f"`{name}`", why) for name, why in REFUSED.items())
        ),
        "limits": _table(("", "at most"), limits.items()),
    }


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(name: str) -> tuple[str, ...]:
    return f"`{name}`", _range(PARAMETERS[name]), _refusals(name), *SEEN[name]


def _refusals(name: str) -> str:
    """Return values that the field does not take, by the code of the refusal."""
    by_code: dict[str, list[str]] = {}
    for value in _wrong(name):
        shown = json.dumps(value)
        shown = shown if len(shown) <= _CUT else f"{shown[:_CUT]}…"
        by_code.setdefault(_code(name, value), []).append(f"`{shown}`")
    return "; ".join(f"{', '.join(it)}: {code}" for code, it in by_code.items())


def _wrong(name: str) -> list[Any]:
    parameter = PARAMETERS[name]
    values = list(WRONG_SHAPES.get(name) or WRONG[parameter.kind])
    if parameter.kind in ("number", "integer"):
        low = parameter.at_least
        values.append(parameter.above if low is None else low - 1)
        values.append(parameter.at_most and parameter.at_most + 1)
    return values


def _code(name: str, value: Any) -> str:
    """Return the code that the value is refused with; it may not be taken."""
    body = {"messages": [{"role": "user", "content": "hi"}], name: value}
    found = Parser("m").parse(json.dumps(body).encode(), 1)
    (problem,) = found.problems if isinstance(found, Invalid) else ()
    return f"`{problem.code}`"


def _range(parameter: Parameter) -> str:
    if parameter.kind == "shape":
        return "see below"
    bounds = parameter.range()
    if parameter.kind in ("stop", "integers", "strings", "logit_bias"):
        low = f"{parameter.least} to" if parameter.least else "up to"
        items = f"{low} {parameter.most}"
        return f"{parameter.kind}, {items}" + (f", {bounds}" if bounds else "")
    return f"{parameter.kind}, {bounds}" if bounds else parameter.kind


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
