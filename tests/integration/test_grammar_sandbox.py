"""Real grammars in a real child: what a bomb costs, and what it leaves behind."""

import json
from contextlib import closing

import pytest

from batchchat.jobs.catalog.demo_model import demo_model
from batchchat.jobs.errors import RequestRefusedError
from batchchat.workers.engine import grammar_sandbox
from batchchat.workers.engine.vllm_grammar_limits import limit_grammar_time

pytest.importorskip("xgrammar", reason="needs vLLM: install batchchat[cpu]")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import PreTrainedTokenizerFast

    folder = demo_model(tmp_path_factory.mktemp("models"))
    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def check(tokenizer):
    """Return what tries grammars for the demo model."""
    with closing(grammar_sandbox.GrammarSandbox(tokenizer, len(tokenizer))) as check:
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
    monkeypatch.setattr(grammar_sandbox, "_SECONDS", 2.0)
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


BOUNDED = {
    "((a{1,999}){1,999}){1,999}": False,
    "((a|aa)*)*b": False,
    "a*": True,
}
"""Regular expressions, and whether an engine may follow them for 900 tokens."""


@pytest.mark.parametrize(("regex", "goes_on"), BOUNDED.items())
def test_a_grammar_that_takes_seconds_a_token_is_ended(tokenizer, regex, goes_on):
    pytest.importorskip("vllm", reason="needs vLLM: install batchchat[cpu]")
    import xgrammar
    from vllm.v1.structured_output import backend_xgrammar

    limit_grammar_time()
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer)
    compiled = xgrammar.GrammarCompiler(info, max_threads=1).compile_regex(regex)
    matcher = xgrammar.GrammarMatcher(compiled)
    followed = backend_xgrammar.XgrammarGrammar(info.vocab_size, matcher, compiled)
    mask = xgrammar.allocate_token_bitmask(1, info.vocab_size)
    (letter,) = tokenizer.encode("a", add_special_tokens=False)
    for _ in range(900):
        followed.fill_bitmask(mask, 0)
        if not followed.accept_tokens("r", [letter]):
            break
    assert (followed.num_processed_tokens == 900) is goes_on
