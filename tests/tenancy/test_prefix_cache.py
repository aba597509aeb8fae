"""A project cannot find out by guessing what other projects have asked."""

from dataclasses import replace
from typing import Any

import pytest

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.workers.engine.cache_salts import CacheSalts
from tests.integration.chat_batches import Batches, answer

SECRET = " ".join(f"the patient number {number} has a fever" for number in range(40))
WRONG = SECRET.replace("fever", "cough")


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """Batches on a demo engine that all projects share."""
    from batchchat.workers.engine.vllm_startup import start_vllm

    models, demo = tmp_path_factory.mktemp("models"), load_catalog().find("demo")
    engine = start_vllm(demo, models, in_subprocess=False, log_level="error")
    yield Batches(engine, demo, models, tmp_path_factory.mktemp("locks"))
    engine.close()


def cached_tokens(batches: Batches, project: str, content: str, **body: Any) -> int:
    """Run one request of a project; return how much of its prompt was known."""
    message = {"role": "user", "content": content}
    asked = {"messages": [message], "max_tokens": 1} | body
    (result,) = replace(batches, project=project).run(asked)
    return int(answer(result)["usage"]["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.engine
def test_cached_tokens_do_not_reveal_the_prompts_of_another_project(batches):
    assert cached_tokens(batches, "victim", SECRET) == 0
    assert cached_tokens(batches, "attacker", WRONG) == 0
    assert cached_tokens(batches, "attacker", SECRET) == 0
    assert cached_tokens(batches, "victim", SECRET) > 0, "its own prefix is cached"
    assert cached_tokens(batches, "attacker", SECRET) > 0, "its own prefix is cached"


def test_a_project_keeps_its_salt_and_shares_it_with_no_other_project():
    salts = CacheSalts()
    assert salts.get("one") == salts.get("one")
    assert salts.get("one") != salts.get("two")


def test_a_salt_cannot_be_computed_from_the_name_of_a_project():
    assert CacheSalts().get("one") != CacheSalts().get("one")
