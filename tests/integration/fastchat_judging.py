"""Judge a run with FastChat's own code, taking the judgments from a file.

This is a program of its own; its arguments are the run's folder, the file of judgments
by prompt, and the baseline or an empty string. Stubs replace the parts of FastChat that
call a judge over a network or load models, because these need further libraries.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch


def main() -> None:
    """Write `single.jsonl` and `pair.jsonl` into the run's folder."""
    folder, words = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    prompts, baseline = sys.argv[3], sys.argv[4]
    common, gen_judgment = _import_fastchat()

    def say(_: str, asked: "_Conversation", **__: object) -> str:
        return str(words[json.dumps(asked.said)])

    common.chat_completion_openai = say
    known = common.load_judge_prompts(prompts)
    pairs = gen_judgment.make_match if baseline else gen_judgment.make_match_all_pairs
    run = _Run(common, folder, baseline)
    run.play_matches(
        "single",
        gen_judgment.make_judge_single("judge", known),
        gen_judgment.make_match_single,
        common.play_a_match_single,
    )
    run.play_matches(
        "pair",
        gen_judgment.make_judge_pairwise("judge", known),
        pairs,
        common.play_a_match_pair,
    )


def _import_fastchat() -> tuple[Any, Any]:
    adapter = ModuleType("fastchat.model.model_adapter")
    adapter.__dict__.update(
        get_conversation_template=_Conversation,
        ANTHROPIC_MODEL_LIST=(),
        OPENAI_MODEL_LIST=("judge",),
    )
    absent = {"anthropic": ModuleType("anthropic")}
    absent |= {"fastchat.model": ModuleType("fastchat.model")}
    absent |= {"tqdm": ModuleType("tqdm"), adapter.__name__: adapter}
    absent["tqdm"].__dict__["tqdm"] = iter
    with patch.dict(sys.modules, absent):
        from fastchat.llm_judge import common, gen_judgment
    return common, gen_judgment


class _Run:
    """A folder with questions, answers and reference answers."""

    def __init__(self, common: Any, folder: Path, baseline: str) -> None:
        self._common, self._folder, self._baseline = common, folder, baseline
        self._questions = common.load_questions(
            str(folder / "question.jsonl"), None, None
        )
        self._answers = common.load_model_answers(str(folder / "model_answer"))
        self._references = common.load_model_answers(str(folder / "reference_answer"))
        self._models = sorted(self._answers)

    def play_matches(
        self,
        kind: str,
        judges: dict[str, Any],
        make_matches: Callable[..., Any],
        play: Callable[..., Any],
    ) -> None:
        """Write the judgments of one kind to `KIND.jsonl`."""
        references = self._references
        self._common.check_data(
            self._questions, self._answers, references, self._models, judges
        )
        for judge in judges.values():
            more: dict[str, Any] = {"multi_turn": judge.multi_turn}
            if judge.ref_based:
                more["ref_answers"] = references
            for match in make_matches(
                self._questions_of(judge),
                self._models,
                self._answers,
                judge,
                self._baseline,
                **more,
            ):
                play(match, str(self._folder / f"{kind}.jsonl"))

    def _questions_of(self, judge: Any) -> list[Any]:
        categories = self._common.NEED_REF_CATS
        return [
            question
            for question in self._questions
            if (question["category"] in categories) == judge.ref_based
        ]


class _Conversation:
    """What is said to a judge."""

    roles = "user", "assistant"

    def __init__(self, _: str) -> None:
        self.said: list[str | None] = [None, None]

    def set_system_message(self, text: str) -> None:
        self.said[0] = text

    def append_message(self, role: str, text: str | None) -> None:
        if role == "user":
            self.said[1] = text


if __name__ == "__main__":
    main()
