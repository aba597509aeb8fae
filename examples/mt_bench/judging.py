"""The requests to a judge, and FastChat's `model_judgment` lines from its answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

from examples.batch import RecipeError, Result
from examples.mt_bench.answer import first_turns
from examples.mt_bench.judge_prompt import JudgePrompt, JudgePrompts, fields
from examples.mt_bench.question import Question
from examples.mt_bench.verdict import rating, winner

FAILED = "$ERROR$"
"""FastChat's judgment for a judge that failed."""

_TURNS = 2
"""The second turn is judged only in conversations of two turns."""

Line = dict[str, Any]
Key = tuple[int | str, ...]


class Judging(Protocol):
    """One line of a judgment file, made from one or two answers of the judge."""

    @property
    def key(self) -> Key:
        """The unique key in its file, which is sorted by it."""

    @property
    def asked(self) -> dict[str, str]:
        """The user prompts, by the name of their field in the line."""

    @property
    def prompt(self) -> JudgePrompt:
        """The judge prompt."""

    def line(self, judgments: Mapping[str, str], judge: str, now: float) -> Line:
        """Return the line; `judgments` has the names of `asked`."""


@dataclass(frozen=True)
class Grading:
    """A rating of one answer."""

    question: Question
    turn: int
    model: str
    prompt: JudgePrompt
    user_prompt: str

    @property
    def key(self) -> Key:
        """See `Judging`."""
        return self.turn, self.question.id, self.model

    @property
    def asked(self) -> dict[str, str]:
        """See `Judging`."""
        return {"user_prompt": self.user_prompt}

    def line(self, judgments: Mapping[str, str], judge: str, now: float) -> Line:
        """See `Judging`."""
        judgment = judgments["user_prompt"]
        return {
            "question_id": self.question.id,
            "model": self.model,
            "judge": [judge, self.prompt.name],
            "user_prompt": self.user_prompt,
            "judgment": judgment,
            "score": rating(judgment),
            "turn": self.turn,
            "tstamp": now,
        }


@dataclass(frozen=True)
class Match:
    """Two games between the same answers, in both orders."""

    question: Question
    turn: int
    models: tuple[str, str]
    prompt: JudgePrompt
    user_prompts: tuple[str, str]

    @property
    def key(self) -> Key:
        """See `Judging`."""
        return self.turn, self.question.id, *self.models

    @property
    def asked(self) -> dict[str, str]:
        """See `Judging`."""
        return dict(zip(_GAMES, self.user_prompts, strict=True))

    def line(self, judgments: Mapping[str, str], judge: str, now: float) -> Line:
        """See `Judging`."""
        first, second = (judgments[game] for game in _GAMES)
        return {
            "question_id": self.question.id,
            "model_1": self.models[0],
            "model_2": self.models[1],
            "g1_winner": self._winner(first, A="model_1", B="model_2"),
            "g2_winner": self._winner(second, A="model_2", B="model_1"),
            "judge": [judge, self.prompt.name],
            "g1_user_prompt": self.user_prompts[0],
            "g1_judgment": first,
            "g2_user_prompt": self.user_prompts[1],
            "g2_judgment": second,
            "turn": self.turn,
            "tstamp": now,
        }

    def _winner(self, judgment: str, **sides: str) -> str:
        said = winner(judgment, self.prompt.output_format)
        return sides.get(said, said)


_GAMES = ("g1_user_prompt", "g2_user_prompt")


@dataclass(frozen=True)
class Bench:
    """Everything to judge: questions, references, and the models' answers."""

    questions: Sequence[Question]
    references: Mapping[int, list[str]]
    answers: Mapping[str, Mapping[int, Line]]
    prompts: JudgePrompts

    def gradings(self) -> Iterator[Grading]:
        """Yield a rating of each turn of each answer."""
        for question, turn in self._turns():
            prompt = self.prompts.choose("single", question, turn)
            for model in self.answers:
                filled = self._fill(prompt, question, turn, {"": model})
                yield Grading(question, turn, model, prompt, filled)

    def matches(self, baseline: str | None = None) -> Iterator[Match]:
        """Yield a match per turn and pair, of any two models or with the baseline.

        Raises:
            RecipeError: there are fewer than two models.

        """
        models = list(self.answers)
        pairs = list(combinations(models, 2))
        if baseline is not None:
            if baseline not in models:
                raise RecipeError(f"there are no answers of the baseline `{baseline}`")
            pairs = [(model, baseline) for model in models if model != baseline]
        if not pairs:
            raise RecipeError("a comparison needs the answers of two models")
        for question, turn in self._turns():
            prompt = self.prompts.choose("pairwise", question, turn)
            for pair in pairs:
                first, second = (
                    self._fill(prompt, question, turn, {"_a": a, "_b": b})
                    for a, b in (pair, pair[::-1])
                )
                yield Match(question, turn, pair, prompt, (first, second))

    def _turns(self) -> Iterator[tuple[Question, int]]:
        for turn in range(1, _TURNS + 1):
            for question in self.questions:
                if turn == 1 or len(question.turns) == _TURNS:
                    yield question, turn

    def _fill(
        self, prompt: JudgePrompt, question: Question, turn: int, who: dict[str, str]
    ) -> str:
        said = {side: self._said(question, model) for side, model in who.items()}
        refs = self.references.get(question.id, [])
        if question.needs_reference and len(refs) < turn:
            message = f"question {question.id} ({question.category}) has no reference"
            raise RecipeError(f"{message} for turn {turn}: give one in `--references`")
        return prompt.fill(fields(question, turn, said, refs))

    def _said(self, question: Question, model: str) -> list[str]:
        answer = self.answers[model].get(question.id)
        turns = first_turns(answer) if answer else []
        if len(turns) < len(question.turns):
            message = f"`{model}` has not answered question {question.id}"
            raise RecipeError(f"{message}: run `answer` for it again")
        return turns


def requests(judging: Judging, max_tokens: int) -> Iterator[Line]:
    """Yield a greedy request for each game."""
    for name, user_prompt in judging.asked.items():
        system = {"role": "system", "content": judging.prompt.system_prompt}
        messages = [system, {"role": "user", "content": user_prompt}]
        body = {"messages": messages, "temperature": 0, "max_tokens": max_tokens}
        yield {
            "custom_id": _custom_id(judging, name),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body,
        }


def judgment_line(
    judging: Judging, results: Mapping[str, Result], judge: str, now: float
) -> Line | None:
    """Return the line of a judging, or None if one of its requests never ran."""
    found = {name: results[_custom_id(judging, name)] for name in judging.asked}
    if not all(result.ran for result in found.values()):
        return None
    said = {name: it.text if it.body else FAILED for name, it in found.items()}
    return judging.line(said, judge, now)


def is_judged(judging: Judging, line: Mapping[str, Any] | None) -> bool:
    """Return whether a line belongs to this judging, with exactly equal prompts."""
    return line is not None and all(
        line.get(name) == user_prompt for name, user_prompt in judging.asked.items()
    )


def key_of(line: Mapping[str, Any]) -> Key:
    """Return the key of a line's judging."""
    names = ("model",) if "model" in line else ("model_1", "model_2")
    return line["turn"], line["question_id"], *(line[name] for name in names)


def _custom_id(judging: Judging, name: str) -> str:
    """Return a custom_id: `1:1001:model`, or `1:1001:one:another:g1` for a game."""
    parts = [str(part) for part in judging.key]
    game = name.removesuffix("user_prompt").rstrip("_")
    return ":".join([*parts, game] if game else parts)
