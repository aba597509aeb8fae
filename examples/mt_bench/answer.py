"""Convert questions to requests, and results to FastChat's `model_answer` lines."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from examples.batch import RecipeError, Result, read_lines
from examples.mt_bench.question import Question

FAILED = "ERROR"
"""FastChat's answer for a model that failed."""

Line = dict[str, Any]

_GENERATED_TURN = {"role": "assistant", "generate": True}
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ID_LENGTH = 22


def requests(
    questions: Iterable[Question], *, choices: int, seed: int, max_tokens: int
) -> Iterator[Line]:
    """Yield a request for each choice of each question.

    The request contains all turns: the model fills a generated turn before each further
    question. Choice i has the seed `seed + i`, as in FastChat.
    """
    for question in questions:
        first, *others = ({"role": "user", "content": it} for it in question.turns)
        messages = [first, *(it for other in others for it in (_GENERATED_TURN, other))]
        for choice in range(choices):
            body = {
                "messages": messages,
                "temperature": question.temperature,
                "max_tokens": max_tokens,
                "seed": seed + choice,
            }
            yield {
                "custom_id": _custom_id(question, choice),
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }


def answer_line(
    question: Question,
    results: Mapping[str, Result],
    *,
    model_id: str,
    choices: int,
    now: float,
) -> Line | None:
    """Return the line of a question, or None if one of its requests never ran."""
    found = [results[_custom_id(question, choice)] for choice in range(choices)]
    if not all(result.ran for result in found):
        return None
    return {
        "question_id": question.id,
        "answer_id": _short(uuid4()),
        "model_id": model_id,
        "choices": [
            {"index": index, "turns": _turns(question, result)}
            for index, result in enumerate(found)
        ],
        "tstamp": now,
    }


def read_answers(path: Path) -> dict[int, Line]:
    """Return the lines of an answer file by question; the last one of each counts.

    Raises:
        RecipeError: a line is not an answer.

    """
    found = {}
    for number, line in enumerate(read_lines(path), 1):
        try:
            turns = [choice["turns"] for choice in line["choices"]]
            found[line["question_id"]] = line
        except (KeyError, TypeError) as error:
            message = f"`{path}`, answer {number}: {error} is missing or wrong"
            raise RecipeError(message) from None
        if not turns:
            raise RecipeError(f"`{path}`, answer {number}: `choices` is empty")
    return found


def first_turns(answer: Mapping[str, Any]) -> list[str]:
    """Return the turns of the first choice, which is the one that is judged."""
    turns: list[str] = answer["choices"][0]["turns"]
    return turns


def first_choices(path: Path) -> dict[int, list[str]]:
    """Return the first choice of each line of an answer file by question.

    Raises:
        RecipeError: the file does not exist, or a line is not an answer.

    """
    if not path.exists():
        raise RecipeError(f"`{path}` does not exist")
    return {number: first_turns(line) for number, line in read_answers(path).items()}


def _custom_id(question: Question, choice: int) -> str:
    return f"{question.id}-{choice}"


def _turns(question: Question, result: Result) -> list[str]:
    """Return the answers by turn, without surrounding whitespace."""
    if result.body is None:
        return [FAILED] * len(question.turns)
    before = (turn["message"]["content"] for turn in result.body.get("turns", ()))
    return [(text or "").strip() for text in (*before, result.text)]


def _short(uuid: UUID) -> str:
    """Return an id in FastChat's format: 22 characters that are easy to tell apart."""
    number, digits = uuid.int, ""
    for _ in range(_ID_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
