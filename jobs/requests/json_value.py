"""Reads a line of JSON strictly, and keeps what other JSON readers drop in silence."""

import json
from collections import Counter
from math import isfinite
from typing import Any, Never

NO_JSON = "not JSON: Expecting value at column 1"
"""The reason for text that does not begin like JSON."""


class InvalidJsonError(Exception):
    """The text is not JSON, or not usable as JSON; the argument is the reason."""


class JsonObject(dict[str, Any]):
    """A JSON object that remembers the keys that it had more than once."""

    duplicate_keys: tuple[str, ...] = ()


def read_json(raw: bytes) -> Any:
    """Return the JSON value in `raw`, with a `JsonObject` for each object.

    Raises:
        InvalidJsonError: it is not UTF-8 or not JSON, has a number that is not finite
            or has too many digits, or is nested too deeply.

    """
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_reject_constant,
            parse_float=_finite_float,
        )
    except UnicodeDecodeError as error:
        reason = f"not UTF-8: byte {error.start + 1} can't be decoded"
    except RecursionError:
        reason = "not usable JSON: nested too deeply"
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} at column {error.colno}"
    except ValueError:  # an integer of more digits than Python converts
        reason = "not usable JSON: a number has too many digits"
    raise InvalidJsonError(reason)


def has_duplicate_keys(value: Any) -> bool:
    """Return whether an object at any depth has a key more than once."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, JsonObject):
            if value.duplicate_keys:
                return True
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return False


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    value = JsonObject(pairs)
    if len(value) < len(pairs):
        times = Counter(name for name, _ in pairs)
        value.duplicate_keys = tuple(sorted(name for name in times if times[name] > 1))
    return value


def _reject_constant(name: str) -> Never:
    raise InvalidJsonError(f"not JSON: {name} is not a JSON number")


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise InvalidJsonError(
            f"not usable JSON: the number {digits[:20]} is too large"
        )
    return number
