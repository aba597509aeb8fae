"""Jinja's filters and tests, limited in what they create.

A filter that is not listed here must not create more than the product of all its
arguments.
"""

import json
from functools import wraps
from typing import Any

from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from batchchat.jobs.prompts.limited_functions import (
    SEQUENCES,
    Function,
    bits,
    check_format,
    check_product,
    check_replace,
    limited,
)
from batchchat.jobs.prompts.size_limit import SizeLimit, SizeLimitError, check_bits

_CHEAP_FILTERS = frozenset(
    [
        "abs",
        "attr",
        "count",
        "d",
        "default",
        "filesizeformat",
        "first",
        "float",
        "int",
        "items",
        "last",
        "length",
        "map",
        "random",
        "reject",
        "rejectattr",
        "select",
        "selectattr",
    ]
)
"""Filters that create nothing large, and look at no more than the items of a list."""

_LINEAR_FILTERS = frozenset(
    [
        "capitalize",
        "e",
        "escape",
        "forceescape",
        "list",
        "lower",
        "reverse",
        "safe",
        "string",
        "title",
        "trim",
        "truncate",
        "upper",
        "wordcount",
    ]
)
"""Filters whose result is at most a few times as large as their first argument."""

_REMOVED_FILTERS = frozenset(["urlize"])  # slow patterns, and no use in a prompt

_COMPARING_TESTS = frozenset(
    [
        "!=",
        "<",
        "<=",
        "==",
        ">",
        ">=",
        "eq",
        "equalto",
        "ge",
        "greaterthan",
        "gt",
        "in",
        "le",
        "lessthan",
        "lt",
        "ne",
    ]
)
_DIVIDING_TESTS = frozenset(["divisibleby", "even", "odd"])  # `%` also formats texts
_MAX_DECIMALS = 1_000
_MAX_INDENT = 100


def limited_filters(limit: SizeLimit) -> dict[str, Any]:
    """Return Jinja's filters, with limits."""
    filters = {
        name: _limited_filter(name, function, limit)
        for name, function in FILTERS.items()
        if name not in _REMOVED_FILTERS
    }
    return filters | {"tojson": _to_json(limit)}


def limited_tests(limit: SizeLimit) -> dict[str, Any]:
    """Return Jinja's tests, with limits."""
    tests: dict[str, Any] = dict(TESTS)
    for name in _COMPARING_TESTS:
        tests[name] = _comparing(tests[name], limit)
    for name in _DIVIDING_TESTS:
        tests[name] = _dividing(tests[name])
    return tests


def _limited_filter(name: str, function: Function, limit: SizeLimit) -> Function:
    if name in _CHEAP_FILTERS:
        return function
    if name in _LINEAR_FILTERS:
        return _linear(name, function, limit)
    checks = {
        "format": lambda pattern, *values: check_format(limit, pattern, "%", values),
        "join": lambda items, glue="", *_: _check_join(limit, items, glue),
        "replace": lambda *args: check_replace(limit, *args),
        "round": _check_round,
        "sum": lambda *args: _check_sum(limit, *args),
    }
    check = checks.get(name, lambda *args: check_product(limit, args))
    return limited(limit, function, check)


def _linear(name: str, function: Function, limit: SizeLimit) -> Function:
    measures = name not in ("list", "reverse")
    first = int(hasattr(function, "jinja_pass_arg"))

    @wraps(function)
    def linear(*args: Any, **kwargs: Any) -> Any:
        if measures and args[first].__class__ is not str:
            limit.measure(args[first])
        if name == "trim" and (kwargs or len(args) > first + 1):
            check_product(limit, [*args[first:], *kwargs.values()])
        return limit.charged(function(*args, **kwargs))

    return linear


def _comparing(test: Function, limit: SizeLimit) -> Function:
    return lambda *values: test(*map(limit.comparable, values))


def _dividing(test: Function) -> Function:
    def divide(value: Any, *args: Any) -> Any:
        if not isinstance(value, int | float):
            raise TypeError("only numbers can be divided")
        check_bits(*map(bits, (value, *args)))
        return test(value, *args)

    return divide


def _check_join(limit: SizeLimit, items: Any, glue: Any) -> None:
    count = len(items) if hasattr(items, "__len__") else 1
    limit.check(limit.measure(items) + count * limit.measure(glue))


def _check_round(_: Any, decimals: Any = 0, *__: Any) -> None:
    if isinstance(decimals, int) and abs(decimals) > _MAX_DECIMALS:
        raise SizeLimitError("it computes with numbers that are too large")


def _check_sum(limit: SizeLimit, items: Any, *args: Any) -> None:
    size = limit.measure([items, *args])
    if any(isinstance(start, SEQUENCES) for start in args):
        limit.check(size * size)  # each addition copies the list


def _to_json(limit: SizeLimit) -> Function:
    """Return transformers' filter; Jinja's own would escape HTML."""

    def to_json(
        value: Any,
        ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - transformers' signature
        indent: Any = None,
        separators: Any = None,
        sort_keys: bool = False,  # noqa: FBT001, FBT002 - transformers' signature
    ) -> str:
        size = limit.measure(value)
        limit.check(size * (1 + sum(map(len, separators or ()))))
        encoder = json.JSONEncoder(
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )
        if indent is None:
            return limit.charged(encoder.encode(value))  # type: ignore[no-any-return]
        if (indent if isinstance(indent, int) else len(indent)) > _MAX_INDENT:
            raise SizeLimitError(f"`tojson` has an `indent` of more than {_MAX_INDENT}")
        return limit.join(encoder.iterencode(value))

    return to_json
