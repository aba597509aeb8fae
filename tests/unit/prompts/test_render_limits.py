"""Templates can't take more than a limited time and memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.errors import ConfigError, RequestRefusedError
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.limited_template import RenderLimits
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.requests.schema import Message
from batchchat.workers.engine.echo_core import start_echo
from tests.support.running import ECHO, Bench, EchoRegistry, lines
from tests.unit.prompts.hostile_templates import LARGE, SLOW, TEMPLATES

# An interruption in `__del__` is ignored, and repeated later.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

LIMITS = RenderLimits(cpu_seconds=0.1, min_cpu_seconds=0.1)
QUADRATIC = (
    "{{ messages[0].content }}{% for a in messages[0].content %}"
    "{% for b in messages[0].content %}{% for c in messages[0].content %}"
    "{% endfor %}{% endfor %}{% endfor %}"
)
ENDLESS = (
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
)


def user(text):
    return [Message(role="user", content=text)]


@pytest.fixture(scope="module")
def outcomes():
    """The error of each hostile template, in a process with limited memory."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.prompts.hostile_templates"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_without_end_or_of_any_size_is_an_error(outcomes, name):
    assert outcomes[name]


def test_the_error_names_the_template_and_the_limit(outcomes):
    named = "the chat template `x` can't render the conversation: it "
    assert outcomes["nested loops"] == f"{named}takes more than 0.1s of CPU time"
    assert outcomes["doubling with +"] == (
        f"{named}creates a value of more than 4,000,000 bytes"
    )
    assert outcomes["many slices that are kept"] == (
        f"{named}creates values of more than 64,000,000 bytes in total"
    )
    assert {*SLOW, *LARGE} == {*outcomes}


def test_later_conversations_are_rendered():
    template = ChatTemplate(QUADRATIC, {}, limits=LIMITS)
    for text in ("x" * 9_999, "Hello"):
        if text == "Hello":
            assert template.render(user(text)) == text
        else:
            with pytest.raises(RequestRefusedError) as caught:
                template.render(user(text))
            assert caught.value.code == "template_limit_exceeded"


@pytest.mark.slow
def test_each_slow_conversation_halves_the_time_of_later_ones():
    limits = LIMITS._replace(cpu_seconds=0.4)
    template = ChatTemplate(ENDLESS, {}, limits=limits)
    for seconds in ("0.4", "0.2", "0.1", "0.1"):
        with pytest.raises(RequestRefusedError, match=f"more than {seconds}s of CPU"):
            template.render(user("Hello"))


def test_a_conversation_that_exceeds_a_limit_is_one_error_line(tmp_path):
    template = ChatTemplate(QUADRATIC, {}, limits=LIMITS)
    renderer = PromptRenderer(template, lambda text: list(text.encode()), 20_000)

    class Registry(EchoRegistry):
        def get(self, _name):
            return renderer

    bench = Bench(
        tmp_path,
        renderers=Registry(Catalog({"echo": ECHO}), tmp_path),
        start_engine=lambda _: start_echo(renderer),
    )
    slow = lines(1).replace(b"question 0", b"x" * 9_999).replace(b"q-0", b"slow")
    answers, errors = bench.results(bench.run(bench.submit(lines(5) + slow)))
    assert [line["custom_id"] for line in errors] == ["slow"]
    assert errors[0]["response"]["body"]["error"]["code"] == "template_limit_exceeded"
    assert len(answers) == 5


def test_a_template_that_renders_nothing_in_time_makes_its_model_unusable(tmp_path):
    model = Model(
        name="slow",
        source="slow",
        chat_template="{{ 'x' * 10**9 }}",
        special_tokens={"bos_token": "<s>"},
    )
    registry = RendererRegistry(Catalog({"slow": model}), tmp_path)
    with pytest.raises(
        ConfigError, match="template `default` of model `slow`"
    ) as caught:
        registry.get("slow")
    assert "chat_template" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x" * 300_000, "has 300,000 characters, and 262,144 are allowed"),
        ("{{ " + "(" * 9_999 + "a" + ")" * 9_999 + " }}", "nested too deeply"),
        ("{% if a %}" * 9_999, "nested too deeply"),
        ("{% for a in b %}" * 30 + "{% endfor %}" * 30, "too many statically nested"),
        ("{{ 'x' | urlize }}", "No filter named 'urlize'"),
        ("{% autoescape true %}{% endautoescape %}", "`autoescape` is not supported"),
        ("{{ a" + " ~ a" * 60_000 + " }}", "takes more than 0.1s to compile"),
    ],
)
def test_a_template_that_is_too_large_to_compile_is_a_config_error(source, problem):
    with pytest.raises(ConfigError, match=problem):
        ChatTemplate(source, {}, limits=LIMITS)


def test_constants_are_not_computed_while_a_template_is_compiled():
    ChatTemplate("{% if false %}{{ 'x' | center(10**9) }}{% endif %}", {})
