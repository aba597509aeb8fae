"""The Jinja environment of chat templates: that of Hugging Face's transformers.

It has block trimming, loop controls, `{% generation %}`, `raise_exception` and a plain
`tojson`. It is sandboxed, since templates come with models and are not trusted.
"""

import json
from typing import Any, Never

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

_DICT_METHODS = frozenset(dir(dict))


def template_environment() -> ImmutableSandboxedEnvironment:
    """Return a new environment; `strftime_now` is a variable of each rendering."""
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    return environment


class _Environment(ImmutableSandboxedEnvironment):
    """Looks up the fields of a message without trying attributes of `dict` first.

    Jinja tries the attribute and catches the exception, which takes half of the time of
    a template. The results are the same, and so is what the sandbox forbids.
    """

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an item of a plain dict; otherwise do what the sandbox does."""
        if type(obj) is dict and attribute not in _DICT_METHODS:
            return self._field(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Do the same for `obj[argument]`."""
        if (
            type(obj) is dict
            and type(argument) is str
            and argument not in _DICT_METHODS
        ):
            return self._field(obj, argument)
        return super().getitem(obj, argument)

    def _field(self, obj: dict[str, Any], name: str) -> Any:
        return obj[name] if name in obj else self.undefined(obj=obj, name=name)


class _Generation(Extension):
    """Renders the content of `{% generation %}`, which marks answers for training."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration

    def parse(self, parser: Parser) -> nodes.Node:
        """Return the block in a scope of its own, as transformers does."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_content")
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _content(self, caller: Any) -> str:
        return str(caller())


def _to_json(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - transformers' signature
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002 - transformers' signature
) -> str:
    """Return JSON; Jinja's own filter would escape HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> Never:
    raise TemplateError(message)
