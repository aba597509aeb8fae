"""On a trained model, a conversation's second answer rarely repeats its first.

A sampler with the same seed draws the same random numbers, and often the same answer.
"""

import json
import sys
from pathlib import Path

import pytest

from batchchat.jobs.catalog.catalog import Model
from tests.integration.chat_batches import Batches, answer, choice
from tests.support.smollm2 import MISSING, make_smollm2

pytestmark = [
    pytest.mark.engine,
    pytest.mark.extended,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
]

QUESTIONS = Path(__file__).parents[2] / "examples/mt_bench/data/mt_bench/question.jsonl"
CONVERSATIONS = 80
MAX_REPEATED = 10
"""With one seed for both turns, about 20 of 80 answers are repeated; else 2 to 5."""


GENERATED = {"role": "assistant", "generate": True}


def user(content):
    return {"role": "user", "content": content}


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Return a function that runs bodies as one batch on the trained model."""
    from batchchat.workers.engine.vllm_startup import start_vllm

    folder = tmp_path_factory.mktemp("smollm2")
    source = str(make_smollm2(folder))
    engine_arguments = {"dtype": "float32", "max_num_seqs": 32}
    model = Model(
        name="smollm2", source=source, context_length=2048, engine=engine_arguments
    )
    engine = start_vllm(model, folder, in_subprocess=False, log_level="error")
    yield Batches(engine, model, folder, folder / "locks").run
    engine.close()


@pytest.fixture(scope="module")
def conversations():
    lines = map(json.loads, QUESTIONS.read_text("utf-8").splitlines())
    questions = [line["turns"] for line in lines]
    settings = {"max_tokens": 40, "temperature": 0.7}
    return [
        {
            "messages": [user(first), GENERATED, user(second)],
            "seed": seed,
        }
        | settings
        for seed in range(CONVERSATIONS)
        for first, second in [questions[seed % len(questions)]]
    ]


def text(choice):
    return choice["message"]["content"]


def test_second_answers_do_not_repeat_the_first(ask, conversations):
    results = ask(*conversations)
    firsts = [text(answer(result)["turns"][0]) for result in results]
    seconds = [text(choice(result)) for result in results]
    repeated = sum(map(str.__eq__, firsts, seconds))

    def paste(seeds):
        return [
            body
            | {"messages": [body["messages"][0], said, body["messages"][2]]}
            | {"seed": seed}
            for body, first, seed in zip(conversations, firsts, seeds, strict=True)
            for said in [{"role": "assistant", "content": first}]
        ]

    pasted = ask(*paste([choice(result)["seed"] for result in results]))
    assert [text(choice(result)) for result in pasted] == seconds

    shared = ask(*paste([body["seed"] for body in conversations]))
    repeated_if_shared = sum(
        text(choice(result)) == first
        for result, first in zip(shared, firsts, strict=True)
    )
    figures = f"{repeated} with derived seeds, {repeated_if_shared} with one seed"
    sys.stdout.write(f"repeated second answers of {CONVERSATIONS}: {figures}\n")
    assert repeated <= MAX_REPEATED
    assert repeated < repeated_if_shared, (repeated, repeated_if_shared)


def test_neighbouring_seeds_have_no_choices_in_common(ask):
    asked = {"messages": [user("Tell me a story about a fox.")], "max_tokens": 40}
    results = ask(*(asked | {"n": 8, "seed": seed} for seed in range(8)))
    texts = [text(it) for result in results for it in answer(result)["choices"]]
    assert len({*texts}) > 0.9 * len(texts)
