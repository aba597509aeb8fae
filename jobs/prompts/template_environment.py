"""The Jinja environment of chat templates: that of Hugging Face's transformers.

It has block trimming, loop controls, `{% generation %}`, `raise_exception` and a plain
`tojson`. It is sandboxed and limited, since templates come with models and are not
trusted.
"""

from collections.abc import Callable
from types import BuiltinMethodType
from typing import Any, Never

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Cycler, Joiner, Namespace

from batchchat.jobs.prompts.limited_filters import limited_filters, limited_tests
from batchchat.jobs.prompts.limited_functions import (
    add,
    call_method,
    limited_format,
    limited_function,
    limited_operators,
)
from batchchat.jobs.prompts.size_limit import SizeLimit
from batchchat.jobs.prompts.template_compiler import LimitedCodeGenerator

_DICT_METHODS = frozenset(dir(dict))
_SAFE_ATTRIBUTES = {
    dict: frozenset(["get", "items", "keys", "values"]),
    str: frozenset(name for name in dir(str) if name[0] != "_")
    - {"format", "format_map"},
    LoopContext: frozenset(name for name in dir(LoopContext) if name[0] != "_"),
}
_UNLIMITED_KINDS = (BlockReference, Cycler, Joiner, LoopContext, Macro)
_KEEPING_ARGUMENTS = (Cycler, Joiner, Namespace, dict, safe_range)


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Renders chat templates; `strftime_now` is a variable of each rendering.

    Looks up the fields of a message without trying attributes of `dict` first, and
    common methods without asking the sandbox. Otherwise such lookups take half of the
    time of a template. The results are the same, and so is what the sandbox forbids.
    """

    code_generator_class = LimitedCodeGenerator
    intercepted_binops = frozenset(["*", "**", "%", "//", "+"])

    def __init__(self, limit: SizeLimit) -> None:
        """Limit the values that templates create."""
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
            optimized=False,  # nothing is computed before a rendering
        )
        self._limit = limit
        self.filters = limited_filters(limit)
        self.tests = limited_tests(limit)
        self.binop_table |= limited_operators(limit)
        self.globals["raise_exception"] = self._raise_exception
        self.concat = limit.join  # type: ignore[method-assign]
        self.add = add(limit)
        self.comparable = limit.comparable
        self.charged = limit.charged

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an item of a plain dict; otherwise do what the sandbox does."""
        kind = type(obj)
        if kind is dict and attribute not in _DICT_METHODS:
            return self._field(obj, attribute)
        if attribute in _SAFE_ATTRIBUTES.get(kind, ()):
            return getattr(obj, attribute)
        if kind is Namespace and attribute[:1] != "_":
            return self._field(obj._Namespace__attrs, attribute, obj)  # noqa: SLF001
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Do the same for `obj[argument]`."""
        if (
            type(obj) is dict
            and type(argument) is str
            and argument not in _DICT_METHODS
        ):
            return self._field(obj, argument)
        return super().getitem(obj, self.comparable(argument))

    def call(
        self, context: Context, function: Any, /, *args: Any, **kwargs: Any
    ) -> Any:
        """Call a function or a method from a template, with limits."""
        if isinstance(function, BuiltinMethodType):
            kwargs.pop("_loop_vars", None)
            kwargs.pop("_block_vars", None)
            return call_method(self._limit, function, args, kwargs)
        if not isinstance(function, _UNLIMITED_KINDS):
            function = self._limited(function, args)
        return super().call(context, function, *args, **kwargs)

    def _limited(self, function: Any, args: tuple[Any, ...]) -> Any:
        """Return a function with limits; check `args` if it only keeps them."""
        is_of_loop = isinstance(getattr(function, "__self__", None), LoopContext)
        if is_of_loop or any(function is it for it in _KEEPING_ARGUMENTS):
            for arg in args:
                self.comparable(arg)
            return function
        return limited_function(self._limit, function)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return a safe and limited `str.format`, None if `value` is not that."""
        function = super().wrap_str_format(value)
        if function is None:
            return None
        return limited_format(self._limit, value.__self__, function)

    def _field(self, fields: dict[str, Any], name: str, obj: Any = None) -> Any:
        if name in fields:
            return fields[name]
        return self.undefined(obj=fields if obj is None else obj, name=name)

    def _raise_exception(self, message: Any) -> Never:
        raise TemplateError(self._limit.text(message))


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
