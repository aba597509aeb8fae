"""Conditions on rows, such as `lang = 'en' and (score > 0.5 or score is null)`.

They have the syntax of SQL, and that of Python where both are common (`==`, `True`).
Each is translated into a Python expression, which is parsed but never evaluated, and
from there into an expression of Arrow. Null is neither equal nor unequal to anything.
"""

import ast
import operator
import re
from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any

from batchchat.jobs.errors import UsageError
from batchchat.jobs.rows.condition_columns import Column, find_column

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

_MAX_CHARS = 10_000

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>'(?:[^']|'')*'|"(?:[^"]|"")*")
    |`(?P<quoted>[^`]+)`
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<word>[^\W\d]\w*(?:\.\w+)*)
    |(?P<operator><=|>=|<>|!=|==|[=<>(),\[\]-])
    )""",
    re.VERBOSE,
)
_WORDS = {word: word for word in ("and", "or", "not", "in", "is")} | {
    "null": "None",
    "none": "None",
    "true": "True",
    "false": "False",
}
_OPERATORS = {"=": "==", "<>": "!="}
_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_NO_CONDITION = (
    "it is incomplete, or uses more than comparisons, `and`, `or`, `not`, `in` and"
    " `is null`"
)
_MAX_SHOWN = 200
"""Characters of a condition that an error repeats."""

_HINT = (
    "conditions look like `lang = 'en'`, `score >= 0.5 and not seen`,"
    " `lang in ('en', 'de')` or `answer is not null`"
)


def condition(text: str, schema: "pa.Schema") -> "pc.Expression":
    """Return the Arrow expression of a condition on rows with this schema.

    Raises:
        UsageError: it is no condition, or does not fit the columns.

    """
    return _Translation(text, schema).expression()


class _Translation:
    """Translates one condition."""

    def __init__(self, text: str, schema: "pa.Schema") -> None:
        self._text = text
        self._schema = schema
        self._names: list[str] = []

    def expression(self) -> "pc.Expression":
        import pyarrow as pa

        try:
            tree = ast.parse(self._python(), mode="eval")
            if any(isinstance(node, ast.Call) for node in ast.walk(tree)):
                raise self._error("it has a function, and none is supported")
            found = self._boolean(tree.body)
            self._schema.empty_table().filter(found)
        except SyntaxError:
            raise self._error(_NO_CONDITION) from None
        except (RecursionError, MemoryError):
            raise self._error("it is nested too deeply") from None
        except pa.ArrowException as error:
            reason = str(error).partition("\n")[0]
            raise self._error(f"its types don't fit: {reason}") from None
        return found

    def _python(self) -> str:
        """Return the condition in Python, with the columns as `_0`, `_1` and so on."""
        text = self._text.strip()
        if not text or len(text) > _MAX_CHARS:
            raise self._error(f"it must have from 1 to {_MAX_CHARS:,} characters")
        words, at = [], 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                raise self._error(f"`{text[at:].strip()[:20]}` is not understood")
            words.append(self._word(token))
            at = token.end()
        return " ".join(words)

    def _word(self, token: re.Match[str]) -> str:
        kind, value = str(token.lastgroup), token[str(token.lastgroup)]
        if kind == "string":
            quote = value[0]
            return repr(value[1:-1].replace(quote * 2, quote))
        if kind == "operator":
            return _OPERATORS.get(value, value)
        if kind == "number":
            return value if not value.isdigit() else str(int(value))
        if kind == "word" and value.lower() in _WORDS:
            return _WORDS[value.lower()]
        self._names.append(value)
        return f"_{len(self._names) - 1}"

    def _boolean(self, node: ast.expr) -> "pc.Expression":
        """Translate a part that is true or false."""
        import pyarrow.compute as pc

        match node:
            case ast.BoolOp(op, values):
                both = operator.and_ if isinstance(op, ast.And) else operator.or_
                return reduce(both, map(self._boolean, values))
            case ast.UnaryOp(ast.Not(), operand):
                return ~self._boolean(operand)
            case ast.Compare(left, ops, rights):
                pairs = zip([left, *rights], ops, rights, strict=False)
                return reduce(operator.and_, (self._compare(*pair) for pair in pairs))
            case ast.Constant(bool(value)):
                return pc.scalar(value)
            case ast.Name():
                return self._column(node).as_boolean()
        raise self._error("a part of it is neither true nor false")

    def _compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(op, ast.Is | ast.IsNot):
            return self._is_null(left, right, negated=isinstance(op, ast.IsNot))
        if isinstance(op, ast.In | ast.NotIn):
            found = self._is_in(left, right)
            return ~found if isinstance(op, ast.NotIn) else found
        compare = _COMPARISONS[type(op)]
        if isinstance(left, ast.Name):
            column = self._column(left)
            if isinstance(right, ast.Name):
                return compare(column.expression, self._column(right).expression)
            return compare(column.expression, column.scalar(self._value(right)))
        if isinstance(right, ast.Name):
            column = self._column(right)
            return compare(column.scalar(self._value(left)), column.expression)
        raise self._error("a comparison needs a column")

    def _is_null(self, left: ast.expr, right: ast.expr, *, negated: bool) -> Any:
        is_null = isinstance(right, ast.Constant) and right.value is None
        if not is_null or not isinstance(left, ast.Name):
            raise self._error("`is` is followed by `null` or `not null`")
        expression = self._column(left).expression
        return expression.is_valid() if negated else expression.is_null()

    def _is_in(self, left: ast.expr, right: ast.expr) -> Any:
        if not isinstance(left, ast.Name):
            raise self._error("`in` needs a column before it")
        items = right.elts if isinstance(right, ast.Tuple | ast.List) else [right]
        column = self._column(left)
        return reduce(
            operator.or_,
            (column.expression == column.scalar(self._value(one)) for one in items),
        )

    def _value(self, node: ast.expr) -> Any:
        """Return a number, text or a boolean."""
        match node:
            case ast.Constant(None):
                raise self._error("null equals nothing: use `is null`")
            case ast.Constant(value):
                return value
            case ast.UnaryOp(ast.USub(), ast.Constant(int(value) | float(value))):
                return -value
        raise self._error("columns are compared with numbers, text or other columns")

    def _column(self, node: ast.Name) -> Column:
        return find_column(self._names[int(node.id[1:])], self._schema, self._text)

    def _error(self, reason: str) -> UsageError:
        is_long = len(self._text) > _MAX_SHOWN
        shown = f"{self._text[:_MAX_SHOWN]}…" if is_long else self._text
        return UsageError(f"the condition `{shown}` is invalid: {reason}", hint=_HINT)
