"""Which prompts a planner renders, and which it leaves to the engine's worker."""

from pathlib import Path
from typing import Any

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.planning.prompt_checker import PromptChecker
from batchchat.jobs.prompts.chat_template import LIMIT_EXCEEDED
from batchchat.jobs.requests.parser import Parser
from tests.support.input_lines import parse_valid, with_message
from tests.support.running import EchoRegistry

GOOD, LONG = (parse_valid(with_message(content=text)) for text in ("a", "a" * 600))


class Rejecting:
    """Stands for a renderer that rejects every request with the same code."""

    def __init__(self, code):
        self.code = code
        self.checked = 0

    def check(self, _request):
        self.checked += 1
        raise RequestRefusedError("no", code=self.code)


class Registry(EchoRegistry):
    """Returns the given renderer for every model."""

    renderer: Any = None

    def get_if_local(self, model):
        """Return the renderer."""
        return self.renderer or super().get_if_local(model)


def checker(renderer=None, **options):
    registry = Registry(Catalog({}), Path())
    registry.renderer = renderer
    return PromptChecker(Parser("m"), registry, **options)


def codes(check, *requests):
    found = [check(request) for request in requests]
    return [problem and problem.code for problem in found]


def test_every_prompt_is_checked_if_asked():
    check = checker(every=True)
    assert codes(check, GOOD, LONG) == [None, "context_length_exceeded"]
    assert check.max_unchecked_bytes == 0


def test_otherwise_prompts_are_checked_until_one_can_be_answered():
    check = checker(every=False)
    found = codes(check, LONG, LONG, GOOD, LONG)
    assert found == ["context_length_exceeded"] * 2 + [None, None]
    assert check.max_unchecked_bytes > 0


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize(("code", "times"), [(LIMIT_EXCEEDED, 3), ("invalid_value", 9)])
def test_slow_prompts_end_the_check(every, code, times):
    renderer = Rejecting(code)
    found = codes(checker(renderer, every=every, max_slow=3), *[GOOD] * 9)
    assert renderer.checked == times
    assert found == [code] * times + [None] * (9 - times)
