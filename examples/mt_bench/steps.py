"""The two steps that run batches: answers, and judgments of them.

Each step runs only what its file does not contain yet, so it can be stopped and
restarted at any time. It returns whether everything was answered.
"""

import time
from collections.abc import Mapping, Sequence

from examples.batch import Result, say, write_lines
from examples.mt_bench import answer, judging
from examples.mt_bench.folder import Folder, Model
from examples.mt_bench.judging import Judging
from examples.mt_bench.question import Question


def answer_questions(
    folder: Folder, model: Model, *, choices: int, seed: int, max_tokens: int
) -> bool:
    """Answer the questions of a run with a model."""
    path = folder.answer_file(model.id)
    lines = answer.read_answers(path)
    questions = folder.questions()
    missing = [it for it in questions if not _is_answered(it, lines, choices)]
    if not missing:
        say(f"{model.id} has already answered all {len(questions)} questions")
        return True
    say(f"{model.id} answers {len(missing)} of {len(questions)} questions")
    batch = folder.batch(f"answer-{model.id}", model)
    batch.run(
        answer.requests(missing, choices=choices, seed=seed, max_tokens=max_tokens)
    )
    results, now = batch.results(), time.time()
    for it in missing:
        line = answer.answer_line(
            it, results, model_id=model.id, choices=choices, now=now
        )
        if line is not None:
            lines[it.id] = line
    write_lines(path, (lines[key] for key in sorted(lines)))
    say(f"wrote {path}")
    batch.mark_used()
    return _report(results, f"the answer `{answer.FAILED}`")


def judge_answers(
    folder: Folder,
    judge: Model,
    wanted: Mapping[str, Sequence[Judging]],
    *,
    max_tokens: int,
) -> bool:
    """Judge answers in one batch; the keys of `wanted` are `SINGLE` and `PAIR`."""
    files = {kind: folder.judgment_file(judge.id, kind) for kind in wanted}
    lines = {
        kind: {judging.key_of(it): it for it in folder.judgments(judge.id, kind)}
        for kind in wanted
    }
    missing = [
        (kind, it)
        for kind, judgings in wanted.items()
        for it in judgings
        if not judging.is_judged(it, lines[kind].get(it.key))
    ]
    if not missing:
        say(f"{judge.id} has already judged all answers")
        return True
    say(f"{judge.id} makes {len(missing)} judgments")
    batch = folder.batch(f"judge-{judge.id}", judge)
    batch.run(line for _, it in missing for line in judging.requests(it, max_tokens))
    results, now = batch.results(), time.time()
    for kind, it in missing:
        line = judging.judgment_line(it, results, judge.id, now)
        if line is not None:
            lines[kind][it.key] = line
    for kind, path in files.items():
        write_lines(path, (lines[kind][key] for key in sorted(lines[kind])))
        say(f"wrote {path}")
    batch.mark_used()
    return _report(results, f"the judgment `{judging.FAILED}`")


def _is_answered(
    question: Question, lines: Mapping[int, answer.Line], choices: int
) -> bool:
    line = lines.get(question.id)
    return line is not None and len(line["choices"]) == choices


def _report(results: Mapping[str, Result], instead: str) -> bool:
    """Print what failed; return whether everything succeeded."""
    failed = {name: it.error for name, it in results.items() if it.body is None}
    never = sum(not it.ran for it in results.values())
    if failed:
        name, error = next(iter(failed.items()))
        say(f"{len(failed)} of {len(results)} requests failed, first {name}: {error}")
    if len(failed) > never:
        say(f"{len(failed) - never} have no answer and count as {instead}")
    if never:
        say(f"{never} never ran: repeat the command to run them")
    return not failed
