"""Replaces the same problem on every line by one problem of the file.

A file without a model, or a data set whose rows are no requests, has one mistake, and
not as many as it has lines.
"""

from collections.abc import Callable, Iterator
from itertools import groupby

from batchchat.jobs.planning.scanner import Scan
from batchchat.jobs.requests.diagnostics import MAX_PROBLEMS_PER_LINE
from batchchat.jobs.requests.json_value import NO_JSON
from batchchat.jobs.requests.parser import NO_MODEL
from batchchat.jobs.requests.problems import Problem, ProblemLog
from batchchat.jobs.requests.row_hint import row_hint

_ENVELOPE = {"method", "url", "body"}
_EXAMPLE = '`{"messages": [{"role": "user", "content": "…"}]}`'
_MAX_COLUMNS = 12
NO_MODEL_IN_FILE = (
    "no request names a model: add a `model` to each request, or to the batch"
)

_Condense = Callable[[list[Problem]], Problem]
"""Returns the problem of the file, by the problems of its first line."""


def condense(found: Scan, model: str | None) -> None:
    """Replace the problems that all lines have by one; `model` is that of the lines.

    If invalid lines are skipped, each keeps its own. No batch can do without a model.
    """
    whole = None
    if found.on_invalid != "skip":
        whole = _problem_of_all_lines(found.problems, found.requests)
    if whole is not None:
        found.replace_problems([whole])
    elif model is None and found.requests:
        kept = ProblemLog()
        found.invalid -= _without_missing_models(found.problems, kept)
        found.replace_problems(kept)
        kept.close()
        if not found.failing_problems:
            found.add([_NO_MODEL])


def _problem_of_all_lines(problems: ProblemLog, lines: int) -> Problem | None:
    """Return the problem of the file if all `lines` have the same kind of mistake."""
    first = next(_by_line(problems), None)
    if first is None:
        return None
    for is_kind, condense in _KINDS:
        if is_kind(first):
            same = 0
            for line in _by_line(problems):
                if not is_kind(line):
                    return None
                same += 1
            return condense(first) if same == lines else None
    return None


def _without_missing_models(problems: ProblemLog, kept: ProblemLog) -> int:
    """Copy the problems to `kept`, with one for all lines that name no model.

    Return the number of lines that have no other problem.
    """
    if any(problem.message == NO_MODEL for problem in problems):
        kept.add([_NO_MODEL])
    bare = 0
    for line in _by_line(problems):
        others = [problem for problem in line if problem.message != NO_MODEL]
        kept.add(others)
        bare += not others
    return bare


_NO_MODEL = Problem("missing_required_parameter", None, NO_MODEL_IN_FILE, "model")


def _by_line(problems: ProblemLog) -> Iterator[list[Problem]]:
    for _, group in groupby(problems, lambda problem: problem.line):
        yield list(group)


def _is_row(line: list[Problem]) -> bool:
    """Return whether a line is an object that has no field of a request."""
    form = [problem for problem in line if not problem.in_body]
    missing = {p.param for p in form if p.code == "missing_required_parameter"}
    has_columns = any(problem.code == "unknown_parameter" for problem in form)
    is_cut_off = len(form) >= MAX_PROBLEMS_PER_LINE
    return has_columns and (missing >= _ENVELOPE or is_cut_off)


def _row_problem(line: list[Problem]) -> Problem:
    columns = [p.param for p in line if p.code == "unknown_parameter" and p.param]
    missing = {p.param for p in line if p.code == "missing_required_parameter"}
    if missing >= _ENVELOPE and "custom_id" not in missing:
        columns.insert(0, "custom_id")
    named = ", ".join(f"`{column[:40]}`" for column in columns[:_MAX_COLUMNS])
    more = ", …" if len(columns) > _MAX_COLUMNS else ""
    reason = f"they are rows with the columns {named}{more}"
    hint = row_hint(columns)
    return _file_problem(f"{reason}. {hint[0].upper()}{hint[1:]}")


def _is_value(line: list[Problem]) -> bool:
    first = line[0]
    return first.code == "invalid_request" and not (first.in_body or first.param)


def _value_problem(line: list[Problem]) -> Problem:
    what = line[0].message.rpartition("got ")[2]
    return _file_problem(f"line {line[0].line} is {what}. A request is {_EXAMPLE}")


def _is_text(line: list[Problem]) -> bool:
    return line[0].message == NO_JSON


def _text_problem(line: list[Problem]) -> Problem:
    return Problem(
        line[0].code,
        None,
        f"no line is JSON; each line must be a request, such as {_EXAMPLE}",
    )


def _file_problem(reason: str) -> Problem:
    return Problem("not_requests", None, f"the lines are not requests: {reason}")


_KINDS: list[tuple[Callable[[list[Problem]], bool], _Condense]] = [
    (_is_row, _row_problem),
    (_is_value, _value_problem),
    (_is_text, _text_problem),
]
