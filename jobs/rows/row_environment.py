"""The Jinja environment of templates that render rows.

It has the limits of chat templates, since clients of a server are not trusted. A text
never contains a value that is missing: an undefined name and a null value are errors,
unless the template tests for them.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, UndefinedError
from jinja2.runtime import Undefined

from batchchat.jobs.prompts.size_limit import SizeLimit
from batchchat.jobs.prompts.template_environment import TemplateEnvironment
from batchchat.jobs.rows.row_values import json_value


class MissingValueError(UndefinedError):
    """A template needs a value that a row does not have."""


class Null(Undefined):
    """A null value: false and `none`, replaced by `default`, and no text."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        """Stand for the value of `name`."""
        super().__init__(hint=f"`{name}` is null", name=name, exc=MissingValueError)

    def _fail(self, *_: Any) -> Any:
        return self._fail_with_undefined_error()

    __str__ = __iter__ = __len__ = __contains__ = __lt__ = __gt__ = _fail

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Null)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(None)


class RowEnvironment(TemplateEnvironment):
    """Renders rows; see `TemplateEnvironment`."""

    def __init__(self, limit: SizeLimit) -> None:
        """Limit the values that templates create."""
        super().__init__(limit)
        self.undefined = StrictUndefined
        self.concat = self._joined  # type: ignore[method-assign]
        self.tests["none"] = _is_null
        del self.filters["random"], self.globals["lipsum"]  # rows are made again
        self.filters["join"] = _checked_join(self.filters["join"])
        self.filters["tojson"] = _to_json(self.filters["tojson"])

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a field; a null becomes `Null`."""
        value = super().getattr(obj, attribute)
        return Null(attribute) if value is None else value

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Do the same for `obj[argument]`."""
        value = super().getitem(obj, argument)
        return Null(str(argument)) if value is None else value

    def checked(self, pieces: Iterable[Any]) -> list[Any]:
        """Return the pieces of a text. Raises `MissingValueError` if one is missing."""
        found = list(pieces)
        for piece in found:
            if piece.__class__ is not str:
                check_text(piece)
        return found

    def _joined(self, parts: Iterable[Any]) -> str:
        return self._limit.join(self.checked(parts))

    def _field(self, fields: dict[str, Any], name: str, obj: Any = None) -> Any:
        if name in fields:
            return fields[name]
        hint = f"there is no field `{name}`"
        return self.undefined(hint=hint, obj=obj, name=name)


def check_text(value: Any) -> None:
    """Raise `MissingValueError` unless a value can be part of a text."""
    if value is None:
        raise MissingValueError("a value is null")
    if isinstance(value, bytes):
        raise MissingValueError("a value is binary data, which is no text")


def _is_null(value: Any) -> bool:
    return value is None or isinstance(value, Null)


def _checked_join(join: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(join)
    def checked(context: Any, items: Any, *args: Any, **kwargs: Any) -> Any:
        values = list(items)
        for value in values:
            check_text(value)
        return join(context, values, *args, **kwargs)

    return checked


def _to_json(to_json: Callable[..., Any]) -> Callable[..., Any]:
    def encode(value: Any, *args: Any, **kwargs: Any) -> Any:
        plain = None if isinstance(value, Null) else value
        return to_json(json_value(plain), *args, **kwargs)

    return encode
