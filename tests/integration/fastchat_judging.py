"""Judge a run with FastChat's own code, taking the judgments from a file.

This is a program of its own; its arguments are the run's folder, the file of judgments
by prompt, and the baseline or an empty string. Stubs replace the parts of FastChat that
call a judge over a network or load models, because these need further libraries.
"""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch


def main() -> None:
    """Write `single.jsonl` and `pair.jsonl` into the run's folder."""
    folder, words = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    prompts, baseline = sys.argv[3], sys.argv[4]
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

    def say(_: str, asked: "_Conversation", **__: object) -> str:
        return str(words[json.dumps(asked.said)])

    common.chat_completion_openai = say
    questions = common.load_questions(str(folder / "question.jsonl"), None, None)
    answers = common.load_model_answers(str(folder / "model_answer"))
    references = common.load_model_answers(str(folder / "reference_answer"))
    known = common.load_judge_prompts(prompts)
    models = sorted(answers)
    for kind, make_judges, make_matches, play in (
        (
            "single",
            gen_judgment.make_judge_single,
            gen_judgment.make_match_single,
            common.play_a_match_single,
        ),
        (
            "pair",
            gen_judgment.make_judge_pairwise,
            gen_judgment.make_match if baseline else gen_judgment.make_match_all_pairs,
            common.play_a_match_pair,
        ),
    ):
        judges = make_judges("judge", known)
        common.check_data(questions, answers, references, models, judges)
        for judge in judges.values():
            chosen = [
                it
                for it in questions
                if (it["category"] in common.NEED_REF_CATS) == judge.ref_based
            ]
            more: dict[str, Any] = {"multi_turn": judge.multi_turn}
            if judge.ref_based:
                more["ref_answers"] = references
            for match in make_matches(chosen, models, answers, judge, baseline, **more):
                play(match, str(folder / f"{kind}.jsonl"))


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
