"""The parts of a request body that differ from row to row, as JSON."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec
from jinja2 import TemplateError
from typing_extensions import override

from batchchat.jobs.errors import UsageError
from batchchat.jobs.prompts.limited_template import TemplateLimitError
from batchchat.jobs.rows.row_columns import ROW, RowColumns
from batchchat.jobs.rows.row_template import RowTemplate
from batchchat.jobs.rows.row_values import json_value, text_value

encode = msgspec.json.Encoder(decimal_format="number").encode

_NULL = b"null"
_MAX_PLAIN_COLUMNS = 16
_MAX_ERROR_CHARACTERS = 1_000


class RowField(Protocol):
    """A part of the body."""

    columns: Sequence[str]
    """The columns that it reads."""

    def encoded(self, rows: RowColumns) -> list[bytes]:
        """Return the JSON of each row; add the problems of the others to `rows`."""
        ...


class TextField(RowField):
    """A text that a template makes of a row."""

    def __init__(self, template: RowTemplate) -> None:
        """Render `template`."""
        self.columns = template.columns
        self._template = template
        self._format = _plain_format(template)

    @override
    def encoded(self, rows: RowColumns) -> list[bytes]:
        if self._format is None:
            return _each(rows, self._template, self._template.text)
        text, names = self._format
        columns = [rows.values(name) for name in names]
        if all(map(_is_plain, columns)):
            if text == "%s":
                return list(map(encode, map(str, columns[0])))
            return list(map(encode, map(text.__mod__, zip(*columns, strict=True))))
        return _each(rows, self._template, self._template.text)


class ValueField(RowField):
    """A value that a template, which is one expression, makes of a row.

    With `is_content` it is the content of a message: text, or a list of parts. A null
    is no content.
    """

    def __init__(self, template: RowTemplate, *, is_content: bool = False) -> None:
        """Evaluate `template`."""
        self.columns = template.columns
        self._column = _plain_column(template)
        self._template = template
        self._is_content = is_content

    @override
    def encoded(self, rows: RowColumns) -> list[bytes]:
        if self._column is None:
            return _each(rows, self._template, self._value)
        values = rows.values(self._column)
        if not self._is_content:
            return _encode_all(rows, values, self._template.label)
        if _is_plain(values):
            return list(map(encode, map(str, values)))
        return _each(rows, self._template, self._value)

    def _value(self, variables: dict[str, Any]) -> Any:
        value = self._template.value(variables)
        if not self._is_content:
            return json_value(value)
        if value is None:
            return self._template.text(variables)  # raises the error of a null
        return json_value(text_value(value))


class MessagesField(RowField):
    """A column of messages, or an expression that gives messages.

    The JSON lacks the opening bracket of the list, so that messages can precede them.
    """

    def __init__(self, label: str, columns: Sequence[str], field: RowField) -> None:
        """Use the messages of `field`."""
        self.columns = columns
        self._label = label
        self._field = field

    @override
    def encoded(self, rows: RowColumns) -> list[bytes]:
        texts = self._field.encoded(rows)
        for at, text in enumerate(texts):
            if not text.startswith(b"[{") and at not in rows.problems:
                what = "null" if text == _NULL else "no list of messages"
                what = "empty" if text == b"[]" else what
                rows.add_problem(at, f"{self._label} is {what}")
        return [text[1:] for text in texts]


class ColumnField(RowField):
    """The values of a column, with their types."""

    def __init__(self, column: str) -> None:
        """Use `column`."""
        self.columns = [column]
        self._column = column

    @override
    def encoded(self, rows: RowColumns) -> list[bytes]:
        return _encode_all(rows, rows.values(self._column), f"`{self._column}`")


class TextOrMessagesField(ColumnField):
    """The values of a column of JSON: lists of messages, or texts of the user."""

    @override
    def encoded(self, rows: RowColumns) -> list[bytes]:
        values = [
            [{"role": "user", "content": value}] if isinstance(value, str) else value
            for value in rows.values(self._column)
        ]
        return _encode_all(rows, values, f"`{self._column}`")


class ColumnTextField(RowField):
    """The values of a column as text."""

    def __init__(self, column: str) -> None:
        """Use `column`."""
        self.columns = [column]
        self._column = column

    @override
    def encoded(self, rows: RowColumns) -> list[bytes]:
        values = rows.values(self._column)
        if None in values:
            for at, value in enumerate(values):
                if value is None:
                    rows.add_problem(at, f"`{self._column}` is null")
        return list(map(encode, map(str, values)))


def _is_plain(values: list[Any]) -> bool:
    """Return whether all values are texts or numbers, so that none is null."""
    return set(map(type, values)) <= {str, int, float, bool}


def _plain_column(template: RowTemplate) -> str | None:
    """Return the column if the template is its name; None if it is anything else."""
    pieces = template.plain_pieces()
    if template.reads_row or not template.is_expression or not pieces:
        return None
    return pieces[0][0]


def _plain_format(template: RowTemplate) -> tuple[str, list[str]] | None:
    """Return a template as a format for `%` and its columns; None if it has logic."""
    pieces = template.plain_pieces()
    if pieces is None or template.reads_row:
        return None
    names = [name for name, is_column in pieces if is_column]
    if not 0 < len(names) <= _MAX_PLAIN_COLUMNS:
        return None
    texts = ("%s" if is_col else text.replace("%", "%%") for text, is_col in pieces)
    return "".join(texts), names


def _encode_all(rows: RowColumns, values: list[Any], label: str) -> list[bytes]:
    if _is_plain(values):
        return list(map(encode, values))
    return [
        _encode(rows, at, json_value(value), label) for at, value in enumerate(values)
    ]


def _each(
    rows: RowColumns, template: RowTemplate, render: Callable[[dict[str, Any]], Any]
) -> list[bytes]:
    """Render row by row."""
    found = []
    for at, variables in enumerate(_variables(rows, template)):
        try:
            value = render(variables)
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 - the sandbox and Python raise many
            rows.add_problem(at, _reason(template, error))
            value = None
        found.append(_encode(rows, at, value, template.label))
    return found


def _variables(rows: RowColumns, template: RowTemplate) -> Iterator[dict[str, Any]]:
    if not template.columns:
        return iter([{ROW: {}}] * rows.count)
    return rows.variables(template.columns, with_row=template.reads_row)


def _reason(template: RowTemplate, error: Exception) -> str:
    text = str(error)[:_MAX_ERROR_CHARACTERS]
    if isinstance(error, TemplateLimitError):
        return text
    if isinstance(error, TemplateError):
        return f"{template.label}: {text}"
    columns = ", ".join(f"`{name}`" for name in template.columns)
    return f"{template.label} can't be rendered: {text} (it reads {columns})"


def _encode(rows: RowColumns, at: int, value: Any, label: str) -> bytes:
    try:
        return encode(value)
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        rows.add_problem(at, f"{label} has no form in JSON: {error}")
        return _NULL
