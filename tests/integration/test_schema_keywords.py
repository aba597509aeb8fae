"""Real grammar compilers enforce every schema that `find_backend` gives them."""

import json
from pathlib import Path

import pytest

from batchchat.jobs.catalog.demo_model import demo_model
from batchchat.jobs.requests.json_schemas import (
    SchemaProblem,
    enforceable,
    find_backend,
)

pytestmark = pytest.mark.engine  # for vLLM's compilers; no engine is started

_FILE = Path(__file__).with_name("schema_keywords.jsonl")
_LINES = [json.loads(line) for line in _FILE.read_text("utf-8").splitlines()]
ENFORCED = {line["name"]: line for line in _LINES if "backend" in line}
REFUSED = {line["name"]: line for line in _LINES if "refused" in line}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import PreTrainedTokenizerFast

    folder = demo_model(tmp_path_factory.mktemp("models"))
    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def matches(tokenizer):
    """Return what tells, for a backend and a schema, whether a value's text matches."""
    import llguidance
    import xgrammar
    from llguidance.hf import from_tokenizer

    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
    compiler = xgrammar.GrammarCompiler(info, max_threads=1)
    tokens = from_tokenizer(tokenizer, len(tokenizer))

    def matches_xgrammar(schema, text):
        compiled = compiler.compile_json_schema(
            json.dumps(schema), any_whitespace=False, separators=(",", ":")
        )
        matcher = xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=True)
        return matcher.accept_string(text) and matcher.is_terminated()

    def matches_guidance(schema, text):
        grammar = llguidance.LLMatcher.grammar_from_json_schema(
            json.dumps(schema), defaults={"whitespace_flexible": False}
        )
        matcher = llguidance.LLMatcher(tokens, grammar)
        assert not matcher.get_error(), matcher.get_error()
        accepted = matcher.try_consume_tokens(tokens.tokenize_str(text))
        return accepted == len(tokens.tokenize_str(text)) and matcher.is_accepting()

    by_backend = {"xgrammar": matches_xgrammar, "guidance": matches_guidance}

    def matches(backend, schema, value):
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return by_backend[backend](schema, text)

    return matches


@pytest.mark.parametrize("name", ENFORCED)
def test_backend_accepts_valid_and_rejects_invalid_values(matches, name):
    line = ENFORCED[name]
    backend, schema = line["backend"], enforceable(line["schema"])
    assert find_backend(line["schema"]) == backend
    assert [it for it in line["valid"] if not matches(backend, schema, it)] == []
    assert [it for it in line["invalid"] if matches(backend, schema, it)] == []


@pytest.mark.parametrize("name", REFUSED)
def test_refused_schemas_name_the_keyword(name):
    problem = find_backend(REFUSED[name]["schema"])
    assert isinstance(problem, SchemaProblem)
    assert f"`{REFUSED[name]['refused']}`" in problem.message
