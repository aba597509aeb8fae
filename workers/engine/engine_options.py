"""Reads engine arguments from the command line, in the form of vLLM's own options.

`--engine max_model_len=8k` has the effect of vLLM's `--max-model-len 8k`, and
`--engine speculative_config.method=ngram` that of `--speculative-config.method ngram`.
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from batchchat.jobs.errors import UsageError
from batchchat.workers.engine.vllm_arguments import (
    Expected,
    check_options,
    expected_values,
    matches,
)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_MAX_SHOWN_CHARS = 80


def parse_options(options: Iterable[str]) -> dict[str, Any]:
    """Return `NAME=VALUE` options as engine arguments; the last of a name counts.

    The keys of `NAME.KEY=VALUE` are added to the argument, which is a table.

    Raises:
        UsageError: an option has another form.
        ConfigError: vLLM has no such argument, or its value has another type.

    """
    arguments: dict[str, Any] = {}
    for option in options:
        path, value = _split(option)
        if len(path) == 1:
            arguments[path[0]] = _typed(value, expected_values(path[0]))
        else:
            _set_key(arguments, path, value)
    check_options(arguments)
    return arguments


def _split(option: str) -> tuple[list[str], str]:
    """Return the name, with its keys, and the text of the value."""
    name, equals, value = option.partition("=")
    first, *keys = name.strip().removeprefix("--").split(".")
    if not (equals and _NAME.fullmatch(first) and all(keys)):
        raise UsageError(
            f"`--engine {option[:_MAX_SHOWN_CHARS]}` is not NAME=VALUE",
            hint="write it as `--engine max_num_seqs=256`, once for each argument",
        )
    return [first.replace("-", "_"), *keys], value.strip()


def _set_key(arguments: dict[str, Any], path: list[str], value: str) -> None:
    table = arguments
    for key in path[:-1]:
        inner = table.get(key)
        table[key] = dict(inner) if isinstance(inner, dict) else {}
        table = table[key]
    table[path[-1]] = _untyped(value)


def _typed(text: str, expected: list[Expected]) -> Any:
    """Return the value with the type that is expected, or else the text itself."""
    number = _integer(text) if "int" in expected else None
    value = _untyped(text) if number is None else number
    is_allowed = not expected or any(matches(value, one) for one in expected)
    return value if is_allowed else text


def _integer(text: str) -> int | None:
    """Return an integer as vLLM reads it: `1k` is 1,000, `1K` is 1,024."""
    with suppress(ValueError):
        return int(text)
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    number, unit = found.groups()
    power = _POWERS[unit.lower()]
    if unit.islower():
        return int(float(number) * 1000**power)
    return int(number) * 1024**power if number.isdecimal() else None


def _untyped(text: str) -> Any:
    """Return a value whose type is not known: JSON, or else the text itself."""
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
