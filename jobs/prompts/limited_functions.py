"""The operators, methods and functions of a template, limited in what they create.

Most methods create little more than they receive, so that it suffices to count their
results. Some multiply (`center`, `replace`, `%`): their results are estimated before. A
function that is not listed here must not create more than the product of all its
arguments.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

from batchchat.jobs.prompts.size_limit import SizeLimit, check_bits

Function = Callable[..., Any]

_LINEAR_METHODS = frozenset(
    [
        "capitalize",
        "casefold",
        "copy",
        "count",
        "decode",
        "encode",
        "endswith",
        "find",
        "get",
        "index",
        "isalnum",
        "isalpha",
        "isascii",
        "isdecimal",
        "isdigit",
        "isidentifier",
        "islower",
        "isnumeric",
        "isprintable",
        "isspace",
        "istitle",
        "isupper",
        "items",
        "keys",
        "lower",
        "partition",
        "removeprefix",
        "removesuffix",
        "split",
        "splitlines",
        "startswith",
        "swapcase",
        "title",
        "upper",
        "values",
    ]
)
"""Methods whose time and result are at most a few times as large as their text.

`rsplit` and `strip` are not: Python compares all of their text with all of an argument.
"""

SEQUENCES = (list, tuple)
_LONG_NUMBER = re.compile(r"\d{3,}")
_HAS_WIDTHS_IN_VALUES = re.compile(r"%[^a-zA-Z]*\*|\{[^}]*\{")
_POINTER_BYTES = 8
_MAX_UNCHECKED_OPERANDS = 8
"""Operands whose sum is measured only afterwards, which is faster."""


def limited_operators(limit: SizeLimit) -> dict[str, Function]:
    """Return the operators whose results can be far larger than their operands."""

    def multiply(left: Any, right: Any) -> Any:
        check_bits(*map(bits, (left, right)))
        for count, value in ((left, right), (right, left)):
            if isinstance(count, int) and hasattr(value, "__len__"):
                limit.check(max(0, count) * limit.measure(value))
        return limit.charged(left * right)

    def power(left: Any, right: Any) -> Any:
        if isinstance(left, int) and isinstance(right, int):
            check_bits(left.bit_length() * right)
        return left**right

    def modulo(left: Any, right: Any) -> Any:
        check_bits(*map(bits, (left, right)))
        if isinstance(left, str | bytes):
            check_format(limit, left, "%", [right])
        return limit.charged(left % right)

    def divide(left: Any, right: Any) -> Any:
        check_bits(*map(bits, (left, right)))
        return left // right

    return {"*": multiply, "**": power, "%": modulo, "//": divide}


def add(limit: SizeLimit) -> Function:
    """Return a function that adds two or more values, which are mostly texts."""
    counted = limit.counted

    def add_all(*values: Any) -> Any:
        for value in values:
            if value.__class__ is not str:
                return add_each(*values)
        if len(values) > _MAX_UNCHECKED_OPERANDS:
            limit.check(sum(map(len, values)))
        return counted("".join(values))

    def add_each(total: Any, *values: Any) -> Any:
        for value in values:
            total = limit.charged(total + value, _POINTER_BYTES)
        return total

    return add_all


def call_method(
    limit: SizeLimit, method: Function, args: Sequence[Any], kwargs: dict[str, Any]
) -> Any:
    """Call a method of a text, a list or another built-in type."""
    owner, name = method.__self__, method.__name__  # type: ignore[attr-defined]
    for arg in args:
        limit.comparable(arg)
    if name == "join" and len(args) == 1:
        args = [list(args[0])]
        limit.check(limit.measure(args[0]) + len(args[0]) * len(owner))
    elif name == "replace":
        check_replace(limit, owner, *args)
    elif name not in _LINEAR_METHODS:
        check_product(limit, [owner, *args, *kwargs.values()])
    elif isinstance(owner, SEQUENCES):
        limit.measure(owner)
    return limit.charged(method(*args, **kwargs))


def limited_function(limit: SizeLimit, function: Function) -> Function:
    """Return a function whose result is at most the product of its arguments."""
    owner = getattr(function, "__self__", None)  # text marked as safe has own methods
    text = [owner] if isinstance(owner, str) else []
    return limited(limit, function, lambda *args: check_product(limit, [*text, *args]))


def limited_format(limit: SizeLimit, pattern: str, function: Function) -> Function:
    """Return `pattern.format` or `pattern.format_map`, which is `function`."""

    def check(*values: Any) -> None:
        check_format(limit, pattern, "{", values)

    return limited(limit, function, check)


def limited(limit: SizeLimit, function: Function, check: Function) -> Function:
    """Return a function that calls `check` with all its arguments before."""
    ignored = int(hasattr(function, "jinja_pass_arg"))  # a context or an environment

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        # An iterator can be read only once, so it is read here.
        args = tuple(list(arg) if hasattr(arg, "__next__") else arg for arg in args)
        check(*args[ignored:], *kwargs.values())
        return limit.charged(function(*args, **kwargs))

    return checked


def bits(value: Any) -> int:
    """Return the size of an integer, 0 for any other value."""
    return value.bit_length() if isinstance(value, int) else 0


def check_product(limit: SizeLimit, values: Iterable[Any]) -> None:
    """Raise `SizeLimitError` if the product of the values' sizes is too large."""
    size = 1
    for value in values:
        if value.__class__ is str:
            size *= len(value) or 1
        elif value is not None:
            is_count = isinstance(value, int)
            size *= max(1, abs(value) if is_count else limit.measure(value))
        if size > limit.value_bytes:
            limit.check(size)


def check_replace(
    limit: SizeLimit, text: Any, old: Any = "", new: Any = "", *_: Any
) -> None:
    """Raise `SizeLimitError` if `text.replace(old, new)` is too large."""
    if isinstance(text, bytes):
        check_product(limit, [text, new])
        return
    text, old, new = map(limit.text, (text, old, new))
    limit.check(len(text) + text.count(old) * max(0, len(new) - len(old)))


def check_format(
    limit: SizeLimit, pattern: Any, sign: str, values: Sequence[Any]
) -> None:
    """Raise `SizeLimitError` if a formatted text is too large.

    `sign` begins a placeholder in the `pattern`. Widths are in the pattern, or among
    the values: `%*d`, `{:{}}`.
    """
    pattern = pattern.decode("latin-1") if isinstance(pattern, bytes) else str(pattern)
    placeholders = pattern.count(sign)
    widths = _numbers(pattern)
    if _HAS_WIDTHS_IN_VALUES.search(pattern):
        widths += placeholders * _numbers(limit.text(list(values)))
    limit.check(len(pattern) + widths + placeholders * limit.measure(list(values)))


def _numbers(text: str) -> int:
    """Return the sum of the numbers in a text."""
    return sum(int(digits[:12]) for digits in _LONG_NUMBER.findall(text))
