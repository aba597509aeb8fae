"""What becomes of a batch with invalid lines: one bad request fails no other one."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.prompts.special_tokens import SpecialTokenGuard
from batchchat.workers.engine.echo_core import start_echo
from tests.support.ended import whole
from tests.support.running import ECHO, Bench

LONG = "long " * 200
BODY_ERRORS: dict[str, dict[str, Any]] = {
    "range": {"temperature": 9},
    "field": {"foo": 1},
    "role": {"messages": [{"role": "bot", "content": "x"}]},
    "long": {"messages": [{"role": "user", "content": LONG}]},
    "tokens": {"logit_bias": {"2000000": 1}},
    "template": {"messages": [{"role": "user", "content": "no"}]},
    "marker": {"messages": [{"role": "user", "content": "a [INST] b"}]},
    "dropped": {"messages": [{"role": "user", "content": text} for text in "ab"]},
}
PARAMS = {
    "range": "temperature",
    "field": "foo",
    "role": "messages[0].role",
    "tokens": "logit_bias",
    "marker": "messages[0].content",
    "dropped": "messages[0]",
}
"""The `param` of the errors, if it is not `messages`."""

FORM_ERRORS = {
    "JSON": b"{",
    "method": whole("b", "x").replace(b"POST", b"GET"),
    "url": whole("b", "x").replace(b"/v1/chat", b"/v2/chat"),
    "custom_id": whole("good", "x"),
    "model": whole("b", "x", model="other"),
}
TEMPLATE = (
    "{% if messages[-1].content == 'no' %}{{ raise_exception('no') }}{% endif %}"
    "{{ messages[-1].content }}"
)


def strict_renderer() -> PromptRenderer:
    """Return the renderer of a model that rejects more than the echo model does."""
    return PromptRenderer(
        ChatTemplate(TEMPLATE, {}),
        lambda text: list(text.encode()),
        512,
        vocabulary=300,
        guard=SpecialTokenGuard([], ["[INST]"]),
        require_all_messages=True,
    )


class StrictRegistry(RendererRegistry):
    """Returns the strict renderer for every model."""

    def get(self, _model: str | Model) -> PromptRenderer:
        """Return the renderer."""
        return strict_renderer()


def make_bench(folder):
    return Bench(
        folder,
        renderers=StrictRegistry(Catalog({"echo": ECHO}), folder),
        start_engine=lambda _: start_echo(strict_renderer()),
    )


@pytest.fixture
def bench(tmp_path):
    return make_bench(tmp_path)


def bad(kind: str, custom_id: str = "bad") -> bytes:
    return whole(custom_id, "x", **BODY_ERRORS[kind])


def joined(*lines):
    return b"".join(line + b"\n" for line in lines)


def no_engine(_):
    raise AssertionError("an engine was started")


def custom_ids(results):
    return [result["custom_id"] for result in results]


def error_of(result):
    assert (result["error"], result["response"]["status_code"]) == (None, 400)
    error = result["response"]["body"]["error"]
    assert error["type"] == "invalid_request_error"
    return error


@given(st.lists(st.none() | st.sampled_from([*BODY_ERRORS]), min_size=1, max_size=30))
@settings(max_examples=15, deadline=None)
def test_each_custom_id_has_one_result_and_good_requests_run(tmp_path_factory, kinds):
    bench = make_bench(tmp_path_factory.mktemp("locks"))
    rows = [
        bad(kind, f"{i}") if kind else whole(f"{i}", f"question {i}")
        for i, kind in enumerate(kinds)
    ]
    state = bench.run(bench.submit(joined(*rows)))
    output, errors = bench.results(state)
    good = [f"{i}" for i, kind in enumerate(kinds) if kind is None]
    assert custom_ids(output) == good
    assert custom_ids(errors) == [f"{i}" for i, kind in enumerate(kinds) if kind]
    counts = state.counts()
    assert (counts.completed, counts.failed) == (len(output), len(errors))
    assert state.status == "completed"


@pytest.mark.parametrize("kind", BODY_ERRORS)
def test_an_error_in_a_body_is_a_line_of_the_error_file(bench, kind):
    state = bench.run(bench.submit(joined(whole("good", "x"), bad(kind))))
    output, errors = bench.results(state)
    assert (custom_ids(output), custom_ids(errors)) == (["good"], ["bad"])
    assert error_of(errors[0])["param"] == PARAMS.get(kind, "messages")
    assert (state.status, state.plan.problems) == ("completed", [])


def test_a_batch_of_body_errors_completes_without_an_engine(bench):
    bench.start_engine = no_engine
    state = bench.run(bench.submit(joined(*(bad(kind, kind) for kind in BODY_ERRORS))))
    _, errors = bench.results(state)
    assert (state.status, state.final.output_file_id) == ("completed", None)
    assert custom_ids(errors) == [*BODY_ERRORS]
    params = [error_of(one)["param"] for one in errors]
    assert params == [PARAMS.get(kind, "messages") for kind in BODY_ERRORS]
    assert (state.counts().failed, state.usage().output_tokens) == (len(errors), 0)


@pytest.mark.parametrize("kind", FORM_ERRORS)
def test_a_problem_of_the_form_fails_the_batch(bench, kind):
    bench.start_engine = no_engine
    data = joined(whole("good", "x"), bad("range", "c"), FORM_ERRORS[kind])
    state = bench.run(bench.submit(data))
    assert state.status == "failed"
    assert [one.line for one in state.plan.problems] == [3]


@pytest.mark.parametrize("kind", [*BODY_ERRORS, *FORM_ERRORS])
def test_with_fail_any_invalid_line_fails_the_batch(bench, kind):
    bench.start_engine = no_engine
    line = FORM_ERRORS.get(kind) or bad(kind)
    state = bench.run(bench.submit(joined(whole("good", "x"), line), on_invalid="fail"))
    assert state.status == "failed"
    assert [one.line for one in state.plan.problems] == [2]


@pytest.mark.parametrize("kind", [*BODY_ERRORS, *FORM_ERRORS])
def test_with_skip_any_invalid_line_is_an_error_line(bench, kind):
    line = FORM_ERRORS.get(kind) or bad(kind)
    state = bench.run(bench.submit(joined(whole("good", "x"), line), on_invalid="skip"))
    output, (result,) = bench.results(state)
    assert (state.status, custom_ids(output)) == ("completed", ["good"])
    error_of(result)


@pytest.mark.parametrize(
    ("begin", "status"),
    [('{"custom_id": "bad", "x": "', "completed"), ('{"x": "', "failed")],
)
def test_a_line_that_is_too_long_is_an_error_of_a_request_with_a_custom_id(
    bench, begin, status
):
    bench.settings = bench.settings.model_copy(update={"max_line_bytes": 1_024})
    long = begin.encode() + b"x" * 99_999 + b'"}'
    state = bench.run(bench.submit(joined(whole("good", "x"), long)))
    assert state.status == status
    if status == "completed":
        output, errors = bench.results(state)
        assert (custom_ids(output), custom_ids(errors)) == (["good"], ["bad"])
        assert error_of(errors[0])["code"] == "line_too_long"


def test_the_custom_id_of_a_line_that_is_too_long_is_compared(bench):
    bench.settings = bench.settings.model_copy(update={"max_line_bytes": 1_024})
    long = b'{"custom_id": "good", "x": "' + b"x" * 99_999 + b'"}'
    state = bench.run(bench.submit(joined(whole("good", "x"), long)))
    assert [one.code for one in state.plan.problems] == ["duplicate_custom_id"]


def test_the_error_of_an_unreadable_line_has_its_number(bench):
    data = joined(whole("good", "x"), b"", b"{", b"[]")
    state = bench.run(bench.submit(data, on_invalid="skip"))
    _, errors = bench.results(state)
    texts = [error_of(one)["message"] for one in errors]
    assert custom_ids(errors) == [None, None]
    assert [text.partition(":")[0] for text in texts] == ["line 3", "line 4"]


def test_a_skipped_file_without_a_valid_line_completes_without_an_engine(bench):
    bench.start_engine = no_engine
    state = bench.run(bench.submit(joined(b"{", b"[]"), on_invalid="skip"))
    _, errors = bench.results(state)
    assert state.status == "completed"
    assert "line 1" in error_of(errors[0])["message"]


@pytest.mark.parametrize("on_invalid", ["openai", "fail", "skip"])
def test_a_file_that_names_no_model_has_one_error(bench, on_invalid):
    rows = [whole(f"{i}", "x") for i in range(3)]
    batch_id = bench.submit(joined(*rows), model=None, on_invalid=on_invalid)
    state = bench.run(batch_id)
    (problem,) = state.plan.problems
    assert (state.status, problem.line, problem.param) == ("failed", None, "model")
    assert problem.message.startswith("no request names a model: add a `model`")


def test_one_line_without_a_model_is_an_error_of_that_line(bench):
    rows = whole("a", "x", model="echo"), whole("b", "x")
    state = bench.run(bench.submit(joined(*rows), model=None))
    _, (result,) = bench.results(state)
    error = error_of(result)
    assert (error["code"], error["param"]) == ("missing_required_parameter", "model")
