"""The questions, in the format of FastChat's `question.jsonl`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.batch import RecipeError, read_lines

SHIPPED = Path(__file__).parent / "data" / "mt_bench" / "question.jsonl"

NEED_REFERENCE = {"math", "reasoning", "coding", "arena-hard-200"}
"""Categories whose judge gets a reference answer, as in FastChat."""

_TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
    "arena-hard-200": 0.0,
}
_OTHER_TEMPERATURE = 0.7


@dataclass(frozen=True, kw_only=True)
class Question:
    """The user's turns, and correct answers if there are any."""

    id: int
    category: str
    turns: list[str]
    reference: list[str]
    required_temperature: float | None

    @property
    def temperature(self) -> float:
        """Its own temperature, or FastChat's for its category."""
        if self.required_temperature is not None:
            return self.required_temperature
        return _TEMPERATURES.get(self.category, _OTHER_TEMPERATURE)

    @property
    def needs_reference(self) -> bool:
        """Whether its judge gets a reference answer."""
        return self.category in NEED_REFERENCE


def read_questions(path: Path) -> list[Question]:
    """Return the questions of a file, in its order.

    Raises:
        RecipeError: the file is empty, a line is invalid, or an id occurs twice.

    """
    found: dict[int, Question] = {}
    for number, line in enumerate(read_lines(path), 1):
        try:
            question = _question(line)
        except (KeyError, TypeError, ValueError) as error:
            message = f"`{path}`, question {number}: {error} is missing or wrong"
            raise RecipeError(message) from None
        if question.id in found:
            raise RecipeError(f"`{path}` has question {question.id} twice")
        found[question.id] = question
    if not found:
        raise RecipeError(f"there are no questions in `{path}`")
    return list(found.values())


def _question(line: dict[str, Any]) -> Question:
    turns = _texts(line["turns"], "turns")
    if not turns:
        raise ValueError("turns")
    if type(line["question_id"]) is not int:
        raise ValueError("question_id")
    return Question(
        id=line["question_id"],
        category=str(line["category"]),
        turns=turns,
        reference=_texts(line.get("reference") or [], "reference"),
        required_temperature=line.get("required_temperature"),
    )


def _texts(value: object, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(it, str) for it in value):
        raise ValueError(name)
    return value
