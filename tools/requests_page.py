"""Write the tables of `docs/requests.md` from the parameter tables (`make docs`)."""

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batchchat.jobs.requests import schema, schema_types
from batchchat.jobs.requests.extra_fields import (
    EXTRA_FIELDS,
    IGNORED_FIELDS,
    UNSUPPORTED_FIELDS,
    ExtraField,
)
from batchchat.jobs.requests.parameters import MAX_MESSAGES, PARAMETERS, Parameter
from batchchat.jobs.requests.parser import InvalidLine, Parser

NOTES: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("parameter_notes.toml").read_text("utf-8")
)
"""What the page says about each parameter that changes an answer, by its name."""

INVALID: dict[str, list[Any]] = {
    "number": ["1", True],
    "integer": [1.5, "1", True],
    "boolean": ["true", 1],
    "stop": [7, "", ["a"] * 5],
    "integers": [5, [1.5], [-1]],
    "strings": ["a", [7], [""]],
    "logit_bias": [[], {"a": 1}, {"5": True}],
}
"""Invalid values for each kind of parameter."""

INVALID_STRUCTURES: dict[str, list[Any]] = {
    "tools": [{}, []],
    "tool_choice": ["any", "auto"],
    "response_format": ["json", {"type": "xml"}],
    "structured_outputs": ["a", {}],
    "reasoning_effort": [1, "much"],
    "chat_template_kwargs": [True, {"budget": []}],
}
"""Invalid values for parameters that have a schema of their own."""

_OBJECTS = {
    "a message": schema.Message,
    "a part of a message": schema.TextPart,
    "a tool": schema_types.Tool,
    "a tool's function": schema_types.Function,
    "a tool call": schema_types.ToolCall,
    "a tool call's function": schema_types.FunctionCall,
    "`response_format`": schema_types.ResponseFormat,
    "`structured_outputs`": schema_types.StructuredOutputs,
}
"""Objects in a body that may have fields of other servers, by their names."""

_MAX_SHOWN_CHARACTERS = 24

_HEAD = "field", "range", "rejected, with", "notes", "observed effect", "compared as"

PAGE = Path(__file__).parents[1] / "docs/requests.md"


def page() -> str:
    """Return the page with up-to-date tables."""
    text = PAGE.read_text("utf-8")
    for name, table in _tables().items():
        part = f"<!-- {name} -->\n{table}\n<!-- end -->"
        text = re.sub(f"<!-- {name} -->.*?<!-- end -->", part, text, flags=re.DOTALL)
    return text


def _tables() -> dict[str, str]:
    used = [name for name, parameter in PARAMETERS.items() if parameter.has_effect]
    unused = [name for name in (*PARAMETERS, *IGNORED_FIELDS) if name not in used]
    limits = {
        "messages": f"{MAX_MESSAGES:,}",
        "a schema, or a tool's parameters": (
            f"{schema_types.MAX_SCHEMA_BYTES:,} bytes of JSON,"
            f" {schema_types.MAX_SCHEMA_DEPTH} levels"
        ),
        "the arguments of a tool call": f"{schema_types.MAX_ARGUMENTS_DEPTH} levels",
        "a regular expression": f"{schema_types.MAX_PATTERN_CHARS:,} characters",
        "a grammar": f"{schema_types.MAX_GRAMMAR_CHARS:,} characters",
        "choices": f"{schema_types.MAX_CHOICES:,}",
        "tools": f"{schema_types.MAX_TOOLS}",
    }
    return {
        "fields": _table(_HEAD, map(_row, used)),
        "unused": f"{_names(unused)}.",
        "neutral": f"{', '.join(_neutral_values())}.",
        "extra": _table(("object", "ignored", "rejected"), map(_extra_row, _OBJECTS)),
        "refused": _table(
            ("field", "why"),
            ((f"`{name}`", why) for name, why in UNSUPPORTED_FIELDS.items()),
        ),
        "limits": _table(("", "at most"), limits.items()),
    }


def _extra_row(name: str) -> tuple[str, ...]:
    """Return the fields of other servers that an object may have."""
    extras = EXTRA_FIELDS[_OBJECTS[name]]
    ignored = [field for field, extra in extras.items() if not extra.reason]
    rejected = (
        f"`{field}`{_unless(extra)}: {extra.reason}"
        for field, extra in extras.items()
        if extra.reason
    )
    return name, _names(ignored), "; ".join(rejected)


def _unless(extra: ExtraField) -> str:
    values = [json.dumps(value) for value in extra.neutral]
    if extra.copy_of:
        return f" (unless {_names(extra.copy_of, ' or ')} repeats it)"
    return f" (unless {_names(values, ' or ')})" if values else ""


def _neutral_values() -> Iterable[str]:
    """Yield the values of fields of the body that are accepted everywhere."""
    for name, extra in EXTRA_FIELDS[schema.Body].items():
        if extra.reason and extra.neutral:
            yield f"`{json.dumps({name: extra.neutral[0]})[1:-1]}`"


def _names(names: Iterable[str], separator: str = ", ") -> str:
    return separator.join(f"`{name}`" for name in names)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(name: str) -> tuple[str, ...]:
    notes = NOTES[name]
    return (
        f"`{name}`",
        _range(PARAMETERS[name]),
        _rejections(name),
        notes.get("note", ""),
        notes["effect"],
        notes["compared"],
    )


def _rejections(name: str) -> str:
    """Return examples of rejected values, grouped by error code."""
    by_code: dict[str, list[str]] = {}
    for value in _invalid_values(name):
        shown = json.dumps(value)
        if len(shown) > _MAX_SHOWN_CHARACTERS:
            shown = f"{shown[:_MAX_SHOWN_CHARACTERS]}…"
        by_code.setdefault(_code(name, value), []).append(f"`{shown}`")
    return "; ".join(f"{', '.join(it)}: {code}" for code, it in by_code.items())


def _invalid_values(name: str) -> list[Any]:
    parameter = PARAMETERS[name]
    values = list(INVALID_STRUCTURES.get(name) or INVALID[parameter.kind])
    if parameter.kind in ("number", "integer"):
        low = parameter.minimum
        values.append(parameter.exclusive_minimum if low is None else low - 1)
        values.append(parameter.maximum and parameter.maximum + 1)
    return values


def _code(name: str, value: Any) -> str:
    """Return the error code for a value, which must be invalid."""
    body = {"messages": [{"role": "user", "content": "hi"}], name: value}
    found = Parser("m").parse(json.dumps(body).encode(), 1)
    if not isinstance(found, InvalidLine):
        raise TypeError(f"{name}: {value!r} is valid")
    [problem] = found.problems
    return f"`{problem.code}`"


def _range(parameter: Parameter) -> str:
    if parameter.kind == "typed":
        return "see below"
    bounds = parameter.describe_range()
    if parameter.kind in ("stop", "integers", "strings", "logit_bias"):
        low = f"{parameter.min_items} to" if parameter.min_items else "up to"
        items = f"{low} {parameter.max_items}"
        return f"{parameter.kind}, {items}" + (f", {bounds}" if bounds else "")
    return f"{parameter.kind}, {bounds}" if bounds else parameter.kind


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
