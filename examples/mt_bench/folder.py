"""The folder of one run, laid out as FastChat's `data/mt_bench`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.batch import Batch, RecipeError, read_lines, write_whole
from examples.mt_bench import question
from examples.mt_bench.answer import read_answers
from examples.mt_bench.question import Question, read_questions

_ID = re.compile(r"\w[\w.-]*", re.ASCII)

SINGLE = "_single"
PAIR = "_pair"
_NEEDED = {
    SINGLE: ("question_id", "turn", "model", "score"),
    PAIR: ("question_id", "turn", "model_1", "model_2", "g1_winner", "g2_winner"),
}


@dataclass(frozen=True)
class Model:
    """A model by the name that FastChat's files have for it, and by batchchat's."""

    id: str
    name: str

    @classmethod
    def of(cls, text: str) -> "Model":
        """Read `NAME` or `ID=NAME`; the id is else the last part of the name.

        Raises:
            RecipeError: the id can't be the name of a file.

        """
        head, equals, tail = text.partition("=")
        name = tail if equals else text
        model_id = head if equals else Path(name).name
        if not _ID.fullmatch(model_id):
            message = f"`{model_id}` can't name a model's file"
            raise RecipeError(f"{message}: write ID=NAME, the ID of letters and digits")
        return cls(model_id, name)


@dataclass(frozen=True)
class Folder:
    """Where a run keeps what it asked and what it heard."""

    path: Path

    def set_questions(self, source: Path | None) -> None:
        """Copy the questions into the folder, which then has them for good.

        Raises:
            RecipeError: they are no questions, or the folder has others.

        """
        if source is None and self._question_file.exists():
            return
        source = source or question.SHIPPED
        read_questions(source)
        text = source.read_text("utf-8")
        if not self._question_file.exists():
            write_whole(self._question_file, text)
        elif self._question_file.read_text("utf-8") != text:
            message = f"`{self.path}` is a run with other questions than `{source}`"
            raise RecipeError(f"{message}: choose another folder with `--out`")

    def questions(self) -> list[Question]:
        """Return the questions. Raises `RecipeError` where there are none."""
        return read_questions(self._question_file)

    def answer_file(self, model_id: str) -> Path:
        """Return where a model's answers stand."""
        return self._answers / f"{model_id}.jsonl"

    def answers(self, model_ids: list[str]) -> dict[str, dict[int, dict[str, Any]]]:
        """Return the answers of these models, or else of all, by model and question.

        Raises:
            RecipeError: there are none.

        """
        here = sorted(it.stem for it in self._answers.glob("[!.]*.jsonl"))
        found = {it: read_answers(self.answer_file(it)) for it in model_ids or here}
        for model_id, answers in found.items():
            if not answers:
                raise RecipeError(f"there are no answers of `{model_id}`")
        if not found:
            raise RecipeError(f"there are no answers in `{self.path}`: run `answer`")
        return found

    def judgment_file(self, judge_id: str, kind: str) -> Path:
        """Return where a judge's judgments stand; `kind` is `SINGLE` or `PAIR`."""
        return self._judgments / f"{judge_id}{kind}.jsonl"

    def judges(self, kind: str) -> list[str]:
        """Return who has judged."""
        files = sorted(self._judgments.glob(f"[!.]*{kind}.jsonl"))
        return [it.stem.removesuffix(kind) for it in files]

    def judgments(self, judge_id: str, kind: str) -> list[dict[str, Any]]:
        """Return a judge's judgments; none where there are none yet.

        Raises:
            RecipeError: a line is none, or of a question that the run does not have.

        """
        path = self.judgment_file(judge_id, kind)
        lines, known = list(read_lines(path)), {it.id for it in self.questions()}
        for number, line in enumerate(lines, 1):
            where = f"`{path}`, judgment {number}"
            for name in _NEEDED[kind]:
                if name not in line:
                    raise RecipeError(f"{where}: `{name}` is missing")
            if line["question_id"] not in known:
                message = f"{where}: the run has no question {line['question_id']}"
                raise RecipeError(message)
        return lines

    def batch(self, name: str, model: Model) -> Batch:
        """Return the batch of that name."""
        return Batch(self.path / "batches", name, model.name)

    @property
    def _question_file(self) -> Path:
        return self.path / "question.jsonl"

    @property
    def _answers(self) -> Path:
        return self.path / "model_answer"

    @property
    def _judgments(self) -> Path:
        return self.path / "model_judgment"
