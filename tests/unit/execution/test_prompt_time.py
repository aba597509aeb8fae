"""Templates that read the clock give a batch the same prompts at any time."""

import pytest
from msgspec import structs

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.results.retry import retry_options
from batchchat.workers.engine.echo_core import start_echo
from tests.support.running import ECHO, Bench, EchoRegistry, lines

MIDNIGHT = 1_782_950_400  # between 1 and 2 July 2026, in UTC
FIRST, LATER = "a", "b b b b"
SOURCE = (
    "{% if strftime_now('%F') == '2026-07-01' %}"
    + FIRST
    + "{% else %}"
    + LATER
    + "{% endif %}"
)


def renderer():
    """Return a renderer whose prompts have as many tokens as letters."""
    template = ChatTemplate(SOURCE, {})
    return PromptRenderer(template, lambda text: list(text.encode()), 512)


class Registry(EchoRegistry):
    """Returns the same renderer for every model."""

    def get(self, _name):
        return renderer()


@pytest.fixture
def now():
    """The time, in a list so that a test can change it."""
    return [MIDNIGHT - 10.0]


@pytest.fixture
def bench(tmp_path, now):
    return Bench(
        tmp_path,
        clock=lambda: now[0],
        renderers=Registry(Catalog({"echo": ECHO}), tmp_path),
        start_engine=lambda _: start_echo(renderer()),
    )


def prompt_lengths(bench, batch_id):
    answers, errors = bench.results(bench.run(batch_id))
    assert not errors
    return {answer["response"]["body"]["usage"]["prompt_tokens"] for answer in answers}


def test_a_batch_keeps_its_time_over_midnight(bench, now):
    first = bench.submit(lines(3))
    now[0] = MIDNIGHT + 10.0
    second = bench.submit(lines(3))
    assert prompt_lengths(bench, first) == {len(FIRST)}
    assert prompt_lengths(bench, second) == {len(LATER)}


def test_a_retry_has_the_time_of_the_original(bench, now):
    original = bench.ledger.batch(bench.submit(lines(3)))
    assert original.prompt_time == original.created_at == MIDNIGHT - 10
    now[0] = MIDNIGHT + 10.0
    options = structs.asdict(retry_options(original))
    assert prompt_lengths(bench, bench.submit(lines(3), **options)) == {len(FIRST)}
