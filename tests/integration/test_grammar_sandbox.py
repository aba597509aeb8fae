"""Real grammars in a real child process: limits, and survival of the child."""

import json
from contextlib import closing

import pytest

from batchchat.jobs.catalog.demo_model import demo_model
from batchchat.jobs.errors import RequestRefusedError
from batchchat.workers.engine import grammar_sandbox
from batchchat.workers.engine.grammar_process import GrammarProcess
from batchchat.workers.engine.vllm_grammar_limits import limit_grammar_time

pytestmark = pytest.mark.engine  # for vLLM's grammars; no engine is started


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import PreTrainedTokenizerFast

    folder = demo_model(tmp_path_factory.mktemp("models"))
    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def process(tokenizer):
    with closing(GrammarProcess(tokenizer, len(tokenizer))) as process:
        assert process.compile(("regex", "a"), 10).error is None
        yield process


@pytest.fixture
def sandbox(process):
    return grammar_sandbox.GrammarSandbox(process)


def bomb(number):
    fields = {f"p{n}": {"type": "string"} for n in range(300 + number)}
    schema = {"properties": fields, "minProperties": 100, "maxProperties": 200}
    return "json", json.dumps(schema | {"type": "object"})


def refusal(sandbox, grammar):
    with pytest.raises(RequestRefusedError) as raised:
        sandbox.check(grammar, "x", "b")
    return raised.value.message


def test_stopped_grammars_do_not_restart_the_child(sandbox, process, monkeypatch):
    monkeypatch.setattr(grammar_sandbox, "_MAX_SECONDS", 2.0)
    child = process.pid
    messages = [refusal(sandbox, bomb(number)) for number in range(4)]
    assert all("too much time" in message for message in messages)
    limits = [message.rpartition("after ")[2] for message in messages]
    assert limits == ["2 s", "1 s", "0.5 s", "0.25 s"]
    sandbox.check(("regex", "[a-z]{3}"), "x", "b")
    assert process.pid == child


def test_grammars_that_crash_the_compiler_do_not_end_the_child(sandbox, process):
    child = process.pid
    for grammar in (
        ("grammar", f'root ::= {"(" * 5000}"a"{")" * 5000}'),
        ("json", '{"$ref": "#"}'),
        ("regex", "((("),
    ):
        assert refusal(sandbox, grammar)
    assert process.pid == child


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ('start: "yes" | "no"', None),
        ("start: yes", "unknown name"),
        ('start: %json {"not": {}}', 'Unimplemented keys: ["not"]'),
        ("start: " + "(" * 5000 + '"a"' + ")" * 5000, "too deeply nested"),
    ],
)
def test_guidance_grammars_are_checked_too(process, grammar, reason):
    child = process.pid
    error = process.compile(("guidance", json.dumps(lark(grammar))), 10).error
    assert (error is None) is (reason is None)
    assert (reason or "") in (error or "")
    assert process.pid == child


def lark(grammar):
    return {"grammars": [{"lark_grammar": grammar}]}


WITHIN_LIMIT = {
    "((a{1,999}){1,999}){1,999}": False,
    "((a|aa)*)*b": False,
    "a*": True,
}
"""Regular expressions, and whether 900 tokens stay within the time limit."""


@pytest.mark.parametrize(("regex", "is_allowed"), WITHIN_LIMIT.items())
def test_grammar_that_needs_seconds_per_token_is_stopped(tokenizer, regex, is_allowed):
    pytest.importorskip("vllm", reason="needs vLLM: install batchchat[cpu]")
    import xgrammar
    from vllm.v1.structured_output import backend_xgrammar

    limit_grammar_time()
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer)
    compiled = xgrammar.GrammarCompiler(info, max_threads=1).compile_regex(regex)
    matcher = xgrammar.GrammarMatcher(compiled)
    grammar = backend_xgrammar.XgrammarGrammar(info.vocab_size, matcher, compiled)
    mask = xgrammar.allocate_token_bitmask(1, info.vocab_size)
    (letter,) = tokenizer.encode("a", add_special_tokens=False)
    for _ in range(900):
        grammar.fill_bitmask(mask, 0)
        if not grammar.accept_tokens("r", [letter]):
            break
    assert (grammar.num_processed_tokens == 900) is is_allowed
