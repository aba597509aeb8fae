"""Real chat templates give the same prompts as in transformers, or a documented error.

The templates are not part of the project: the test reads them where they are present.
"""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.prompts.chat_template import (
    ChatTemplate,
    message_for_template,
    tool_for_template,
)
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.requests.output_constraints import template_arguments
from batchchat.jobs.requests.schema import Request
from tests.support.input_lines import encoded, parse_valid
from tests.unit.prompts.template_conversations import CONVERSATIONS

transformers_templates = pytest.importorskip("transformers.utils.chat_template_utils")

FOLDER = Path(__file__).parents[4] / "shared" / "chat_templates"
TEMPLATES = sorted(FOLDER.glob("*.jinja"))
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

EQUAL = "equal"
BOTH_REJECT = "both reject"
REJECTED_ONLY_HERE = {
    "does not support tools": "the template ignores the request's tools",
    "does not support `tool_calls`": "the template ignores calls in messages",
    "leaves out message": "the template ignores the content of a message",
}
"""Parts of our errors for what transformers renders, and the reasons."""

UNUSABLE = {"fireworks-ai-llama-3-firefunction-v2": "it needs the variable `functions`"}
"""Templates that neither renders, and the reasons."""


def our_prompt(renderer: PromptRenderer, request: Request) -> str | RequestRefusedError:
    try:
        return renderer.render(request)
    except RequestRefusedError as error:
        return error


def their_prompt(source: str, request: Request) -> str | Exception:
    """Render as vLLM does: with transformers, from messages in vLLM's form."""
    turns = [message_for_template(message) for message in request.body.messages]
    for turn in turns:
        if turn["role"] == "developer" and "developer" not in source:
            turn["role"] = "system"
    tools = request.parameter("tools")
    try:
        prompts, _ = transformers_templates.render_jinja_template(
            [turns],
            tools=[tool_for_template(tool) for tool in tools] if tools else None,
            chat_template=source,
            add_generation_prompt=True,
            **TOKENS,
            **template_arguments(request),
        )
    except Exception as error:  # noqa: BLE001 - a template may raise anything
        return error
    return str(prompts[0])


def outcome(source: str, renderer: PromptRenderer, name: str) -> str:
    """Return how the two renderings of a conversation compare."""
    line = parse_valid(encoded(CONVERSATIONS[name]))
    request = msgspec.structs.replace(line, time=NOON)
    own, reference = our_prompt(renderer, request), their_prompt(source, request)
    if isinstance(own, RequestRefusedError):
        if isinstance(reference, Exception):
            return BOTH_REJECT
        reasons = [part for part in REJECTED_ONLY_HERE if part in own.message]
        return reasons[0] if reasons else f"only we reject: {own.message}"
    if own == reference:
        return EQUAL
    return f"different: {own!r} is not {reference!r}"


def outcomes(file: Path) -> dict[str, str]:
    """Return the outcome of each conversation with a template."""
    source = file.read_text("utf-8")
    template = ChatTemplate(source, TOKENS)
    renderer = PromptRenderer(template, None, None, require_all_messages=True)
    return {name: outcome(source, renderer, name) for name in CONVERSATIONS}


class Noon(datetime):
    """A clock that always shows `NOON`."""

    @classmethod
    def now(cls, tz=None):  # noqa: ARG003 - the signature of `datetime.now`
        return datetime(2026, 7, 1, 12)  # noqa: DTZ001 - as transformers does


NOON = int(datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp())


@pytest.mark.skipif(not TEMPLATES, reason="the real templates are not present")
@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.stem)
def test_real_templates_give_the_prompts_of_transformers(template, monkeypatch):
    monkeypatch.setattr(transformers_templates, "datetime", Noon)
    allowed = {EQUAL, BOTH_REJECT, *REJECTED_ONLY_HERE}
    found = outcomes(template)
    assert {k: v for k, v in found.items() if v not in allowed} == {}
    assert EQUAL in found.values() or template.stem in UNUSABLE


def test_conversations_are_compared_only_if_the_product_accepts_them():
    assert len(CONVERSATIONS) >= 12
    for body in CONVERSATIONS.values():
        assert msgspec.to_builtins(parse_valid(encoded(body)).body)["messages"]
