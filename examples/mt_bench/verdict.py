"""Read ratings and winners from judgments, by FastChat's rules."""

import ast
import math
import re

NO_RATING = -1
"""The score of a judgment without a rating."""

ERROR = "error"
"""The winner of a game whose judgment names no winner."""

_RATING = re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]")
_TWO_RATINGS = (
    re.compile(r"\[\[(\d+\.?\d*),\s?(\d+\.?\d*)\]\]"),
    re.compile(r"\[(\d+\.?\d*),\s?(\d+\.?\d*)\]"),
)
_TIE_WITHIN = 0.1
_MAX_NUMBER = 2**53
"""Some JSON readers, such as that of pandas, fail at larger numbers."""


def rating(judgment: str) -> float:
    """Return the first `[[rating]]`, else the first `[rating]`, else -1.

    FastChat fails on ratings that are not Python numbers, such as `[[05]]`; here they
    are -1, too.
    """
    found = _first(_RATING, judgment)
    return _number(found[1]) if found else NO_RATING


def winner(judgment: str, output_format: str) -> str:
    """Return `A`, `B`, `tie` or `error`."""
    if output_format == "[[A]]":
        for mark, name in (("[[A]]", "A"), ("[[B]]", "B"), ("[[C]]", "tie")):
            if mark in judgment:
                return name
        return ERROR
    found = _first(_TWO_RATINGS, judgment)
    if found is None:
        return ERROR
    lead = _number(found[1]) - _number(found[2])
    if abs(lead) <= _TIE_WITHIN:
        return "tie"
    return "A" if lead > 0 else "B"


def _first(
    patterns: tuple[re.Pattern[str], re.Pattern[str]], text: str
) -> re.Match[str] | None:
    return patterns[0].search(text) or patterns[1].search(text)


def _number(digits: str) -> float:
    try:
        number: float = ast.literal_eval(digits)
    except (SyntaxError, ValueError):
        return NO_RATING
    return number if math.isfinite(number) and number < _MAX_NUMBER else NO_RATING
