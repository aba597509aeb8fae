"""MT-Bench with batchchat: `python -m examples.mt_bench --help`."""

import argparse
import sys
from pathlib import Path

from examples.batch import RecipeError, say
from examples.mt_bench import judge_prompt
from examples.mt_bench.answer import first_choices
from examples.mt_bench.folder import PAIR, SINGLE, Folder, Model
from examples.mt_bench.judge_prompt import JudgePrompts
from examples.mt_bench.judging import Bench, Judging
from examples.mt_bench.report import Report
from examples.mt_bench.steps import answer_questions, judge_answers

_INCOMPLETE = 1
_WRONG = 2

Asked = argparse.Namespace


def main() -> int:
    """Run a step; return 0, or 1 if answers or verdicts are missing."""
    asked = _parser().parse_args()
    try:
        return 0 if asked.step(asked) else _INCOMPLETE
    except (RecipeError, OSError) as error:
        say(f"error: {error}")
        return _WRONG


def _answer(asked: Asked) -> bool:
    folder = Folder(asked.out)
    folder.set_questions(asked.questions)
    answered = [
        answer_questions(
            folder,
            Model.of(name),
            choices=asked.num_choices,
            seed=asked.seed,
            max_tokens=asked.max_tokens,
        )
        for name in asked.models
    ]
    return all(answered)


def _judge(asked: Asked) -> bool:
    return _judge_by(asked, asked.models, asked.mode)


def _judge_by(asked: Asked, models: list[str], modes: list[str]) -> bool:
    folder = Folder(asked.out)
    bench = _bench(folder, models, asked)
    wanted: dict[str, list[Judging]] = {}
    if "single" in modes:
        wanted[SINGLE] = list(bench.gradings())
    if "pairwise-all" in modes:
        wanted[PAIR] = list(bench.matches())
    elif "pairwise-baseline" in modes:
        if not asked.baseline:
            raise RecipeError("`pairwise-baseline` needs `--baseline ID`")
        wanted[PAIR] = list(bench.matches(asked.baseline))
    judge, tokens = Model.of(asked.judge), asked.judge_max_tokens
    return judge_answers(folder, judge, wanted, max_tokens=tokens)


def _show(asked: Asked) -> bool:
    report = Report(Folder(asked.out), asked.baseline)
    report.print()
    report.write()
    return report.print_missing_verdicts()


def _nightly(asked: Asked) -> bool:
    models = [Model.of(name).id for name in asked.models]
    modes = ["single", "pairwise-baseline"] if asked.baseline else ["single"]
    steps = _answer(asked), _judge_by(asked, models, modes), _show(asked)
    return all(steps)


def _bench(folder: Folder, models: list[str], asked: Asked) -> Bench:
    questions = folder.questions()
    references = {it.id: it.reference for it in questions}
    if asked.references:
        references |= first_choices(asked.references)
    prompts = JudgePrompts(asked.judge_prompts)
    return Bench(questions, references, folder.answers(models), prompts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="examples.mt_bench", description=__doc__)
    steps = parser.add_subparsers(required=True, metavar="STEP")
    answer = steps.add_parser("answer", help="answer the questions with models")
    judge = steps.add_parser("judge", help="judge the answers with a model")
    show = steps.add_parser("show", help="print the scores and write charts")
    nightly = steps.add_parser("nightly", help="run all three steps")
    for step, run in (
        (answer, _answer),
        (judge, _judge),
        (show, _show),
        (nightly, _nightly),
    ):
        step.set_defaults(step=run)
        step.add_argument(
            "--out",
            type=Path,
            default=Path("data/mt_bench"),
            metavar="DIR",
            help="folder of the run (default: %(default)s, where FastChat looks)",
        )
    for step in (answer, nightly):
        _add_answer_options(step)
    judge.add_argument("--models", nargs="+", default=[], metavar="ID")
    judge.add_argument(
        "--mode",
        nargs="+",
        choices=["single", "pairwise-baseline", "pairwise-all"],
        default=["single"],
    )
    for step in (judge, nightly):
        _add_judge_options(step)
    for step in (judge, show, nightly):
        step.add_argument(
            "--baseline", metavar="ID", help="compare the other models with this one"
        )
    return parser


def _add_answer_options(step: argparse.ArgumentParser) -> None:
    step.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="[ID=]MODEL",
        help="MODEL as for `batchchat submit --model`; ID names its files",
    )
    step.add_argument(
        "--questions", type=Path, metavar="FILE", help="your own questions"
    )
    step.add_argument("--num-choices", type=_positive, default=1, metavar="N")
    step.add_argument("--seed", type=int, default=0, help="seed of the first choice")
    step.add_argument("--max-tokens", type=_positive, default=1024, metavar="N")


def _add_judge_options(step: argparse.ArgumentParser) -> None:
    step.add_argument("--judge", required=True, metavar="[ID=]MODEL")
    step.add_argument(
        "--judge-prompts",
        type=Path,
        default=judge_prompt.SHIPPED,
        metavar="FILE",
        help="your own `judge_prompts.jsonl`",
    )
    step.add_argument(
        "--references",
        type=Path,
        metavar="FILE",
        help="a `reference_answer/*.jsonl` that replaces the questions' references",
    )
    step.add_argument("--judge-max-tokens", type=_positive, default=2048, metavar="N")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main())
