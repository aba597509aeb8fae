"""A small hand-made run of MT-Bench: questions, answers and judgments."""

import json
from pathlib import Path
from typing import Any

from examples.batch import Result, write_lines
from examples.mt_bench import judge_prompt, judging
from examples.mt_bench.folder import PAIR, SINGLE, Folder
from examples.mt_bench.judge_prompt import JudgePrompts
from examples.mt_bench.judging import Bench

REFUSED = Result(None, "too long", ran=True)
NEVER_RUN = Result(None, "batch_expired", ran=False)
JUDGE = "judge"
MODELS = ["one", "three", "two"]
QUESTIONS: list[dict[str, Any]] = [
    {"question_id": 7, "category": "writing", "turns": ["Wt {1}", "W2"]},
    {"question_id": 8, "category": "math", "turns": ["M1", "M2"]}
    | {"reference": ["R1", "R2"]},
    {"question_id": 9, "category": "stem", "turns": ["S1", "S2"]},
    {"question_id": 10, "category": "writing", "turns": ["X1", "X2"]},
]
CATEGORIES = {it["question_id"]: it["category"] for it in QUESTIONS}
RATINGS = ["[[7]]", "[[8.5]]", "[3]", "no idea", "[[10]] or [[1]]", "[[2]]", "[[9/10]]"]
VERDICTS = ["[[A]]", "[[B]]", "[[C]]", "neither", "[[B]]", "[[A]] not [[B]]", "[[A]]"]


def answered(text, turns=(), **fields):
    """Return the result of an answered request with its generated turns."""
    told = [{"index": 1, "message": {"content": turn}} for turn in turns]
    body = {"choices": [{"message": {"content": text}}], "turns": told, **fields}
    return Result(body, None, ran=True)


def answer_lines(model):
    return [
        {
            "question_id": it["question_id"],
            "answer_id": f"id-{model}-{it['question_id']}",
            "model_id": model,
            "choices": [
                {"index": 0, "turns": [f"{model} {{a}} {n}" for n in (1, 2)]},
                {"index": 1, "turns": ["not judged", "not judged"]},
            ],
            "tstamp": 1.5,
        }
        for it in QUESTIONS
    ]


def words(custom_ids):
    """Return a judgment for each request, cycling through all kinds."""
    said = {}
    for at, custom_id in enumerate(custom_ids):
        known = VERDICTS if custom_id.endswith(("g1", "g2")) else RATINGS
        said[custom_id] = f"Well. {known[at % len(known)]}"
    return said


def make_run(path: Path) -> Folder:
    """Write questions and answers."""
    folder = Folder(path)
    write_lines(path / "question.jsonl", QUESTIONS)
    for model in MODELS:
        write_lines(folder.answer_file(model), answer_lines(model))
    return folder


def bench_of(folder: Folder) -> Bench:
    questions = folder.questions()
    references = {it.id: it.reference for it in questions}
    prompts = JudgePrompts(judge_prompt.SHIPPED)
    return Bench(questions, references, folder.answers([]), prompts)


def judge_run(folder: Folder, baseline: str | None = None) -> dict[str, str]:
    """Write judgments and return them by prompt."""
    bench = bench_of(folder)
    said: dict[str, str] = {}
    for kind, judgings in (
        (SINGLE, list(bench.gradings())),
        (PAIR, list(bench.matches(baseline))),
    ):
        asked = [line for it in judgings for line in judging.requests(it, 99)]
        told = words([line["custom_id"] for line in asked])
        said |= {prompt_of(line): told[line["custom_id"]] for line in asked}
        results = {name: answered(text) for name, text in told.items()}
        lines = [judging.judgment_line(it, results, JUDGE, 2.5) for it in judgings]
        write_lines(folder.judgment_file(JUDGE, kind), filter(None, lines))
    return said


def prompt_of(request):
    """Return the prompt of a judge's request."""
    return json.dumps([it["content"] for it in request["body"]["messages"]])
