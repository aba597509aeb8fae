"""Writes the tables of `docs/requests.md` from those of the parameters: `make docs`."""

import re
from collections.abc import Iterable
from pathlib import Path

from jobs import shapes
from jobs.parameters import MAX_MESSAGES, PARAMETERS, REFUSED, Parameter

SEEN = {
    "temperature": ("0 is greedy, and above 0 at least 0.01: vLLM raises it", "greedy"),
    "top_p": ("", "warm"),
    "min_p": ("", "min_p"),
    "top_k": ("0 is off", "top_k"),
    "max_tokens": ("0 is answered with no tokens and no engine", "plain"),
    "max_completion_tokens": ("wins over `max_tokens`", "the newer limit"),
    "min_tokens": ("", "min_tokens"),
    "presence_penalty": ("counts the answer's tokens", "penalties"),
    "frequency_penalty": ("counts the answer's tokens", "penalties"),
    "repetition_penalty": ("counts the prompt's tokens too", "repetition"),
    "seed": ("absent: made from the batch's seed and the custom_id", "plain"),
    "n": ("choice i has seed + i; 1 with temperature 0 and with slots", "n"),
    "stop": ("the catalog's stop strings come on top", "stop"),
    "stop_token_ids": ("the catalog's come on top", "stop token"),
    "allowed_token_ids": ("", "allowed tokens"),
    "bad_words": ("vLLM counts one with and without a blank before it", "bad words"),
    "logit_bias": ("by token id", "logit_bias"),
    "logprobs": ("", "logprobs"),
    "top_logprobs": ("needs `logprobs`", "logprobs"),
    "ignore_eos": ("", "ignore_eos"),
    "skip_special_tokens": ("", "special tokens"),
    "spaces_between_special_tokens": ("", "no spaces"),
    "include_stop_str_in_output": ("", "stop, included"),
    "tools": ("functions, 128 at most", "tools"),
    "tool_choice": ("`none`, `auto`, `required`, or one by name", "this tool"),
    "parallel_tool_calls": ("false: one call at most", "one tool"),
    "response_format": ("`text`, `json_object`, `json_schema`", "json schema"),
    "structured_outputs": (
        "one of `json`, `regex`, `choice`, `grammar`, `json_object`",
        "grammar",
    ),
    "reasoning_effort": ("given to the template", "effort"),
    "include_reasoning": ("false: the answer without it", "plain"),
    "chat_template_kwargs": ("`enable_thinking` and `thinking`", "thinking"),
}
"""What to know of each field, and a line of the comparison with `vllm run-batch`."""

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
        "fields": _table(("field", "range", "to know", "compared"), map(_row, used)),
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
    known, line = SEEN[name]
    return f"`{name}`", _range(PARAMETERS[name]), known, line


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
