"""The folder of one run, laid out as FastChat's `data/mt_bench`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.batch import Batch, RecipeError, read_lines, write_atomically
from examples.mt_bench import question
from examples.mt_bench.answer import read_answers
from examples.mt_bench.question import Question, read_questions

_ID = re.compile(r"\w[\w.-]*", re.ASCII)

SINGLE = "_single"
PAIR = "_pair"
_REQUIRED_FIELDS = {
    SINGLE: ("question_id", "turn", "model", "score"),
    PAIR: ("question_id", "turn", "model_1", "model_2", "g1_winner", "g2_winner"),
}


@dataclass(frozen=True)
class Model:
    """A model: its id in FastChat's file names, and its name for batchchat."""

    id: str
    name: str

    @classmethod
    def of(cls, text: str) -> "Model":
        """Parse `NAME` or `ID=NAME`; the default id is the last part of the name.

        Raises:
            RecipeError: the id cannot be a file name.

        """
        head, equals, tail = text.partition("=")
        name = tail if equals else text
        model_id = head if equals else Path(name).name
        if not _ID.fullmatch(model_id):
            message = f"`{model_id}` is not a valid file name"
            raise RecipeError(
                f"{message}: write ID=NAME with an ID of letters and digits"
            )
        return cls(model_id, name)


@dataclass(frozen=True)
class Folder:
    """The folder of a run: its questions, answers, judgments and batches."""

    path: Path

    def set_questions(self, source: Path | None) -> None:
        """Copy the questions into the folder, which keeps them from then on.

        Raises:
            RecipeError: the file is invalid, or the folder has other questions.

        """
        if source is None and self._question_file.exists():
            return
        source = source or question.SHIPPED
        read_questions(source)
        text = source.read_text("utf-8")
        if not self._question_file.exists():
            write_atomically(self._question_file, text)
        elif self._question_file.read_text("utf-8") != text:
            message = (
                f"`{self.path}` contains a run with other questions than `{source}`"
            )
            raise RecipeError(f"{message}: choose another folder with `--out`")

    def questions(self) -> list[Question]:
        """Return the questions. Raises `RecipeError` if there are none."""
        return read_questions(self._question_file)

    def answer_file(self, model_id: str) -> Path:
        """Return the path of a model's answers."""
        return self._answers / f"{model_id}.jsonl"

    def answers(self, model_ids: list[str]) -> dict[str, dict[int, dict[str, Any]]]:
        """Return the answers of these models, or of all, by model and question.

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
        """Return the path of a judge's judgments; `kind` is `SINGLE` or `PAIR`."""
        return self._judgments / f"{judge_id}{kind}.jsonl"

    def judges(self, kind: str) -> list[str]:
        """Return the ids of the judges that have judgments of a kind."""
        files = sorted(self._judgments.glob(f"[!.]*{kind}.jsonl"))
        return [it.stem.removesuffix(kind) for it in files]

    def judgments(self, judge_id: str, kind: str) -> list[dict[str, Any]]:
        """Return a judge's judgments, or an empty list if there are none yet.

        Raises:
            RecipeError: a line is invalid, or of a question that is not in the run.

        """
        path = self.judgment_file(judge_id, kind)
        lines, known = list(read_lines(path)), {it.id for it in self.questions()}
        for number, line in enumerate(lines, 1):
            where = f"`{path}`, judgment {number}"
            for name in _REQUIRED_FIELDS[kind]:
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
