"""Compiles the body of a request whose strings are templates."""

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from batchchat.jobs.errors import UsageError
from batchchat.jobs.rows.row_fields import (
    ColumnField,
    ColumnTextField,
    MessagesField,
    RowField,
    TextField,
    TextOrMessagesField,
    ValueField,
)
from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.rows.row_template import RowTemplate, require_column
from batchchat.jobs.rows.row_values import is_json, is_messages, is_text_or_number

if TYPE_CHECKING:
    import pyarrow as pa

Piece = bytes | RowField
"""JSON that all rows have in common, or a field."""

_IS_TEMPLATE = re.compile(r"\{[{%#]")
_CONTENT = re.compile(r"messages\[\d+\]\.content")
_MESSAGES = "messages"
_MAX_TEMPLATES = 1_000
"""Strings of a body that may be templates, each of which is compiled."""


class RowBody(NamedTuple):
    """The members of a body, without the braces around them.

    `seed` is the JSON of its `seed`, None if it has none. It differs between samples.
    """

    pieces: list[Piece]
    seed: Piece | None


def compile_body(
    options: RowOptions, schema: "pa.Schema", model: str | None = None
) -> RowBody:
    """Return the body of the requests; `model` is their `model` unless they have one.

    Raises:
        UsageError: the options contradict each other, a template is invalid, or it
            reads a column that the rows do not have.

    """
    options.check()
    try:
        return _compiled(options, schema, model)
    except RecursionError:
        raise UsageError(
            "the template is nested too deeply", hint="use fewer levels of nesting"
        ) from None


def _compiled(
    options: RowOptions, schema: "pa.Schema", model: str | None = None
) -> RowBody:
    template = dict(options.template or {})
    compiler = BodyCompiler(schema.names, "the template")
    seed = template.pop("seed", None)
    pieces: list[Piece] = [b'"messages":[']
    if options.system is not None:
        content = compiler.text(options.system, "the system prompt")
        pieces += [b'{"role":"system","content":', content, b"},"]
    if options.prompt is not None:
        content = compiler.text(options.prompt, "the prompt")
        pieces += [b'{"role":"user","content":', content, b"}]"]
    elif options.prompt_column is not None:
        pieces += _prompt_column(options.prompt_column, schema)
    else:
        pieces += compiler.messages(template.get("messages"))
    template.pop("messages", None)
    if model is not None:
        template.setdefault("model", model)
    for key, value in template.items():
        pieces.append(b"," + msgspec.json.encode(key) + b":")
        pieces += compiler.value(value, key)
    seeds = None if seed is None else [*compiler.value(seed, "seed")]
    return RowBody(pieces, seeds[0] if seeds else None)


def _prompt_column(name: str, schema: "pa.Schema") -> list[Piece]:
    """Return the messages of a column of texts or of messages."""
    require_column(name, schema.names, "`prompt_column`")
    kind = schema.field(name).type
    if is_json(kind):
        return [MessagesField(f"`{name}`", [name], TextOrMessagesField(name))]
    if is_messages(kind):
        return [MessagesField(f"`{name}`", [name], ColumnField(name))]
    if is_text_or_number(kind):
        return [b'{"role":"user","content":', ColumnTextField(name), b"}]"]
    raise UsageError(
        f"the prompt column `{name}` has the type {kind}",
        hint="choose a column of text or of messages (a list of structs with `role`"
        " and `content`), or make a text with `--prompt '{{ … }}'`",
    )


class BodyCompiler:
    """Compiles a body for rows with the given columns."""

    def __init__(self, columns: Collection[str], name: str) -> None:
        """Let templates read `columns`; errors call the body `name`."""
        self._columns = columns
        self._name = name
        self._count = 0

    def text(self, source: str, label: str) -> Piece:
        """Return the JSON of a text. Raises `UsageError`."""
        if not _IS_TEMPLATE.search(source):
            return msgspec.json.encode(source)
        return TextField(RowTemplate(source, label, self._columns))

    def messages(self, value: Any) -> Iterator[Piece]:
        """Yield the messages of a body, without the opening bracket of their list.

        Raises:
            UsageError: they are no list of messages, or a template is invalid.

        """
        label = f"`{_MESSAGES}` of {self._name}"
        if isinstance(value, str) and _IS_TEMPLATE.search(value):
            template = RowTemplate(value, label, self._columns)
            if template.is_expression:
                field = ValueField(template)
                yield MessagesField(label, field.columns, field)
                return
        if not isinstance(value, list) or not value:
            raise UsageError(
                f"{label} must be a list of messages, or one `{{{{ column }}}}` that"
                " holds such a list",
                hint="see docs/rows.md for an example",
            )
        for at, message in enumerate(value):
            yield b"," if at else b""
            yield from self.value(message, f"{_MESSAGES}[{at}]")
        yield b"]"

    def value(self, value: Any, path: str) -> Iterator[Piece]:
        """Yield the JSON of a value at `path` of the body. Raises `UsageError`."""
        if isinstance(value, dict):
            for at, (key, each) in enumerate(value.items()):
                yield (b"," if at else b"{") + msgspec.json.encode(str(key)) + b":"
                yield from self.value(each, f"{path}.{key}" if path else str(key))
            yield b"}" if value else b"{}"
        elif isinstance(value, list):
            yield b"["
            for at, each in enumerate(value):
                yield b"," if at else b""
                yield from self.value(each, f"{path}[{at}]")
            yield b"]"
        elif isinstance(value, str) and _IS_TEMPLATE.search(value):
            yield self._string(value, path)
        else:
            yield msgspec.json.encode(value)

    def _string(self, source: str, path: str) -> Piece:
        self._count += 1
        if self._count > _MAX_TEMPLATES:
            raise UsageError(
                f"{self._name} has more than {_MAX_TEMPLATES} strings with templates",
                hint="put the values that differ into one column",
            )
        template = RowTemplate(source, f"`{path}` of {self._name}", self._columns)
        if template.is_expression:
            is_content = _CONTENT.fullmatch(path) is not None
            return ValueField(template, is_content=is_content)
        return TextField(template)
