"""Judge prompts, in the format of FastChat's `judge_prompts.jsonl`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.batch import RecipeError, read_lines
from examples.mt_bench.question import Question

SHIPPED = Path(__file__).parent / "data" / "judge_prompts.jsonl"

_NAMES = {
    ("single", False): "single-v1",
    ("single", True): "single-math-v1",
    ("pairwise", False): "pair-v2",
    ("pairwise", True): "pair-math-v1",
}
_FORMATS = {
    "single": ("[[rating]]",),
    "pairwise": ("[[A]]", "[[rating_a,rating_b]]"),
}
_KEYS = ("name", "type", "system_prompt", "prompt_template", "output_format")


@dataclass(frozen=True)
class JudgePrompt:
    """A prompt for a judge; its template uses the fields of `str.format`."""

    name: str
    type: str
    system_prompt: str
    prompt_template: str
    output_format: str

    def fill(self, fields: Mapping[str, str]) -> str:
        """Return the prompt's text.

        Raises:
            RecipeError: the template has an unknown field.

        """
        try:
            return self.prompt_template.format(**fields)
        except (KeyError, IndexError, ValueError) as error:
            message = (
                f"judge prompt `{self.name}` has an unknown field {error}; the fields"
            )
            raise RecipeError(f"{message} are {', '.join(fields)}") from None


class JudgePrompts:
    """The prompts of a file by name."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises `RecipeError` if a line is not a prompt."""
        self._path = path
        self._prompts = {}
        for number, line in enumerate(read_lines(path), 1):
            prompt = _prompt(line, f"`{path}`, prompt {number}")
            self._prompts[prompt.name] = prompt

    def choose(self, kind: str, question: Question, turn: int) -> JudgePrompt:
        """Return the prompt that judges a turn of a question.

        Raises:
            RecipeError: the file has no prompt with FastChat's name.

        """
        name = _NAMES[kind, question.needs_reference]
        name += "-multi-turn" if turn > 1 else ""
        try:
            return self._prompts[name]
        except KeyError:
            raise RecipeError(f"`{self._path}` has no prompt `{name}`") from None


def fields(
    question: Question, turn: int, answers: Mapping[str, list[str]], refs: list[str]
) -> dict[str, str]:
    """Return the fields of a prompt; `answers` has turns by their name's suffix."""
    if turn == 1:
        filled = {"question": question.turns[0]}
        filled |= {f"answer{suffix}": turns[0] for suffix, turns in answers.items()}
    else:
        filled = {f"question_{n}": question.turns[n - 1] for n in (1, 2)}
        filled |= {
            f"answer{suffix}_{n}": turns[n - 1]
            for suffix, turns in answers.items()
            for n in (1, 2)
        }
    if question.needs_reference:
        filled |= {f"ref_answer_{n + 1}": refs[n] for n in range(turn)}
    return filled


def _prompt(line: Mapping[str, Any], where: str) -> JudgePrompt:
    values = [line.get(key) for key in _KEYS]
    for key, value in zip(_KEYS, values, strict=True):
        if not isinstance(value, str):
            raise RecipeError(f"{where}: `{key}` is missing or not a string")
    prompt = JudgePrompt(*map(str, values))
    if prompt.output_format not in _FORMATS.get(prompt.type, ()):
        known = "; ".join(f"{kind}: {' '.join(it)}" for kind, it in _FORMATS.items())
        message = f"{where}: `type` and `output_format` do not match; valid are"
        raise RecipeError(f"{message} {known}")
    return prompt
