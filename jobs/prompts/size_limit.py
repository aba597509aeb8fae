"""Limits the memory that a template can use for the values that it creates."""

from collections.abc import Iterable
from threading import local
from typing import Any

from jinja2 import TemplateError
from jinja2.utils import Namespace

_ITEM_BYTES = 64
_SMALL_BYTES = 128
"""Values up to this size are not counted: the time limit also limits their number."""

_MAX_INT_BITS = 65_536
_EMPTY: dict[str, str] = {}
_VIEWS = (type(_EMPTY.keys()), type(_EMPTY.values()), type(_EMPTY.items()))
_CONTAINERS = (list, tuple, set, frozenset, *_VIEWS)
_SCALARS = frozenset([str, int, float, bool, type(None)])


class SizeLimitError(TemplateError):
    """A template creates values that are too large."""


class _Rendering(local):
    """How many bytes the rendering of this thread may still create."""

    def __init__(self, left: int) -> None:
        self.left = left


class SizeLimit:
    """The largest value that a template may create, and the total of all values.

    The total applies to one rendering in one thread.
    """

    def __init__(self, value_bytes: int, total_bytes: int) -> None:
        """Limit each value to `value_bytes`, all together to `total_bytes`."""
        self.value_bytes = value_bytes
        self.total_bytes = total_bytes
        self._rendering = _Rendering(total_bytes)

    def restart(self) -> None:
        """Begin a rendering in the calling thread."""
        self._rendering.left = self.total_bytes

    def check(self, size: int) -> None:
        """Raise `SizeLimitError` if a value of `size` bytes is too large."""
        if size > self.value_bytes:
            raise SizeLimitError(
                f"it creates a value of more than {self.value_bytes:,} bytes"
            )

    def charge(self, size: int) -> None:
        """Count a new value of `size` bytes. Raises `SizeLimitError`."""
        rendering = self._rendering
        left = rendering.left = rendering.left - size
        if left < 0 or size > self.value_bytes:
            self.check(size)
            raise SizeLimitError(
                f"it creates values of more than {self.total_bytes:,} bytes in total"
            )

    def counted(self, text: str) -> str:
        """Return a new text, after counting it. Raises `SizeLimitError`."""
        size = len(text)
        if size > _SMALL_BYTES:
            self.charge(size if text.isascii() else 4 * size)
        return text

    def charged(self, value: Any, item_bytes: int = _ITEM_BYTES) -> Any:
        """Return a new value of any kind, after counting it. Raises `SizeLimitError`.

        `item_bytes` is the memory of an item of a list, including its text.
        """
        if isinstance(value, str):
            return self.counted(value)
        if isinstance(value, bytes):
            self.charge(len(value))
        elif isinstance(value, list | tuple | dict):
            self.charge(item_bytes * len(value))
        return value

    def measure(self, value: Any) -> int:
        """Return about how many characters `str(value)` has; at least 1.

        A list that occurs several times in a value counts each time, as nested lists of
        the same lists grow exponentially. Raises `SizeLimitError`.
        """
        total = 0
        pending = [value]
        while pending:
            self.check(total + len(pending))
            value = pending.pop()
            total += 1
            if isinstance(value, (str, bytes)):
                total += len(value)
            elif isinstance(value, int):
                total += value.bit_length() // 3
            else:
                pending += _parts(value)
        self.check(total)
        return total

    def text(self, value: Any) -> str:
        """Return `str(value)`. Raises `SizeLimitError`."""
        if value.__class__ is str:
            return value
        self.measure(value)
        return self.charged(str(value))  # type: ignore[no-any-return]

    def join(self, parts: Iterable[Any]) -> str:
        """Return the parts as one text. Raises `SizeLimitError`."""
        if parts.__class__ is not list:
            parts = list(parts)
        try:
            size = sum(map(len, parts))
            if size > self.value_bytes:
                self.check(size)
            text = "".join(parts)
        except TypeError:
            return self.join([self.text(part) for part in parts])
        return self.counted(text)

    def comparable(self, value: Any) -> Any:
        """Return a value that is compared or hashed, if it is not too large."""
        if value.__class__ not in _SCALARS:
            self.measure(value)
        return value


def check_bits(*bits: int) -> None:
    """Raise `SizeLimitError` if arithmetic with integers of these sizes is slow."""
    if sum(bits) > _MAX_INT_BITS:
        raise SizeLimitError("it computes with numbers that are too large")


def _parts(value: Any) -> Iterable[Any]:
    """Return the values that `str(value)` shows."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, _CONTAINERS):
        return value
    if isinstance(value, Namespace):
        return [value._Namespace__attrs]  # noqa: SLF001
    return ()
