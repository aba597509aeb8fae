"""Finds errors in regular expressions that every grammar compiler rejects.

xgrammar and guidance understand different dialects, so only what neither accepts is an
error here. The rest is left to the compiler, which checks the expression again.
"""

import re

_IN_CLASS = r"(?:\\.|[^\]\\])"
_TOKENS = {
    "\\": (re.compile(r"\\(?:[pPxu]\{[^}]*\}|.|$)", re.DOTALL), ""),
    "[": (  # a `]` at the beginning of a class may be one of its characters
        re.compile(
            rf"\[\]{_IN_CLASS}*\]|\[\^\]?{_IN_CLASS}*\]|\[\^\]|\[{_IN_CLASS}+\]",
            re.DOTALL,
        ),
        "`[` without `]`",
    ),
    "{": (
        re.compile(r"\{(\d+)(?:,(\d*))?\}"),
        "`{` is no repetition such as `{2}`, `{2,}` or `{2,5}`",
    ),
    "(": (
        re.compile(r"\((?!\?<?[=!])(?:\?(?:P?<\w*>|[a-zA-Z-]*[:)]))?"),
        "look-around is not supported",
    ),
}
"""How tokens are written, by their first character, and what is wrong otherwise."""

_ANY = re.compile(r".", re.DOTALL)
_UNCHECKED = re.compile(r"\[[^\]]*\[|\(\?[a-z-]*x")
"""Classes in classes and comments, which only one of the compilers understands."""


def regex_problem(pattern: str) -> str | None:
    """Return what is wrong with a regular expression, None if it may be valid."""
    if _UNCHECKED.search(pattern):
        return None
    open_groups: list[int] = []
    at, has_target = 0, False
    while at < len(pattern):
        character, start = pattern[at], at
        found = _token(pattern, at)
        if isinstance(found, str):
            return f"{found} at character {start + 1}"
        at = found
        if character == "(":
            is_flag = pattern[at - 1] == ")"
            open_groups += [] if is_flag else [start]
            has_target = False
        elif character == ")":
            if not open_groups:
                return f"`)` without `(` at character {start + 1}"
            open_groups.pop()
            has_target = True
        elif character == "|":
            has_target = False
        elif character in "*+?{" and not has_target:
            return f"`{character}` has nothing to repeat at character {start + 1}"
        else:
            has_target = True
    if open_groups:
        return f"`(` without `)` at character {open_groups[-1] + 1}"
    return None


def _token(pattern: str, at: int) -> int | str:
    """Return where the next token ends, or what is wrong with it."""
    form, problem = _TOKENS.get(pattern[at], (_ANY, ""))
    found = form.match(pattern, at)
    if found is None:
        return problem
    if pattern[at] == "{" and found[2] and int(found[2]) < int(found[1]):
        return "the bounds of `{…}` are reversed"
    return found.end()
