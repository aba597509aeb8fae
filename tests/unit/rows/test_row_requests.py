"""Rows become request lines, of which each row has as many as samples."""

import itertools
import json
from decimal import Decimal
from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.engine.sampling import nth_seed, request_seed
from batchchat.jobs.errors import UsageError
from batchchat.jobs.requests.parser import InvalidLine, Parser
from batchchat.jobs.requests.schema import Request
from batchchat.jobs.rows import row_requests
from batchchat.jobs.rows.row_fields import TextField
from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.rows.row_requests import RowRequests, sample_seed
from tests.support.table_rows import TableRows

QUESTIONS = {"id": ["a", "b"], "question": ["Why?", "Who?"], "score": [1, 2]}


def lines_of(columns, *, model=None, **options):
    table = pa.table(columns)
    requests = RowRequests(RowOptions(**options), table.schema, model)
    text = b"".join(requests.lines(TableRows(table)))
    return text.splitlines()


def bodies(columns, **options):
    return [json.loads(line)["body"] for line in lines_of(columns, **options)]


def contents(columns, prompt):
    return [body["messages"][0]["content"] for body in bodies(columns, prompt=prompt)]


def test_a_row_becomes_a_line_in_openai_s_form():
    [first, second] = lines_of(QUESTIONS, prompt="Answer: {{ question }}")
    assert json.loads(first) == {
        "custom_id": "row-1",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "Answer: Why?"}]},
    }
    assert json.loads(second)["custom_id"] == "row-2"


def test_the_system_prompt_comes_first_and_is_a_template():
    [first, _] = bodies(QUESTIONS, prompt="{{ question }}", system="Rate {{ score }}.")
    assert first["messages"] == [
        {"role": "system", "content": "Rate 1."},
        {"role": "user", "content": "Why?"},
    ]


def test_samples_have_ids_and_lines_of_their_own():
    found = lines_of(QUESTIONS, prompt="{{ question }}", samples=2, id_column="id")
    ids = [json.loads(line)["custom_id"] for line in found]
    assert ids == ["a-sample-1", "a-sample-2", "b-sample-1", "b-sample-2"]
    parsed = [Parser("m").parse(line, 1) for line in found]
    seeds = {request_seed(one, 7) for one in parsed if isinstance(one, Request)}
    assert len(seeds) == 4


@pytest.mark.parametrize("samples", [1, 3, 1_000])
def test_many_samples_of_many_rows_are_made_in_blocks_of_bounded_size(samples):
    table = pa.table({"question": [str(number) for number in range(30)]})
    requests = RowRequests(
        RowOptions(prompt="{{ question }}", samples=samples), table.schema
    )
    blocks = [block.splitlines() for block in requests.lines(TableRows(table))]
    assert max(map(len, blocks)) <= 2_048
    lines = [json.loads(line) for block in blocks for line in block]
    asked = [line["body"]["messages"][0]["content"] for line in lines]
    assert asked == [str(row) for row in range(30) for _ in range(samples)]


def test_blocks_of_slow_rows_are_small_so_that_others_compute_in_between(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(row_requests, "thread_time", lambda: float(next(ticks)))
    table = pa.table({"question": [str(number) for number in range(40)]})
    requests = RowRequests(RowOptions(prompt="{{ question }}"), table.schema)
    blocks = [block.splitlines() for block in requests.lines(TableRows(table))]
    assert [len(block) for block in blocks] == [16, 8, 4, 2, *[1] * 10]


def test_samples_of_a_seed_in_the_template_have_independent_seeds():
    template = {"messages": [{"role": "user", "content": "{{ question }}"}], "seed": 5}
    found = bodies(QUESTIONS, template=template, samples=4)
    seeds = [body["seed"] for body in found]
    assert seeds[:4] == seeds[4:]
    assert seeds[0] == 5
    assert len({*seeds, *(nth_seed(5, at) for at in range(1, 9))}) == 4 + 8


def test_samples_of_a_seed_in_a_column_have_independent_seeds():
    template = {
        "messages": [{"role": "user", "content": "{{ question }}"}],
        "seed": "{{ score }}",
    }
    seeds = [body["seed"] for body in bodies(QUESTIONS, template=template, samples=2)]
    assert seeds == [1, sample_seed(1, 1), 2, sample_seed(2, 1)]


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1), st.text("%{ \n\"'"))
def test_every_text_arrives_unchanged(texts, around):
    around = around.replace("{", "")
    columns = {"text": pa.array(texts, pa.string())}
    begin = f"{around}:"
    found = contents(columns, f"{begin}{{{{ text }}}}.")
    assert found == [f"{begin}{text}." for text in texts]


def test_a_template_with_logic_gives_what_a_plain_one_gives():
    plain = lines_of(QUESTIONS, prompt="{{ question }} {{ score }}")
    logic = lines_of(
        QUESTIONS, prompt="{{ question }}{% if score %} {{ score }}{% endif %}"
    )
    assert plain == logic


@pytest.mark.parametrize("block", [1, 2, 3, 7, None])
def test_the_lines_do_not_depend_on_the_blocks(block):
    columns = {"text": [str(n) if n % 3 else None for n in range(20)]}
    table = pa.table(columns)
    requests = RowRequests(RowOptions(prompt="{{ text }}", samples=2), table.schema)
    text = b"".join(requests.lines(TableRows(table, block)))
    assert text == b"".join(requests.lines(TableRows(table)))


def test_a_single_expression_keeps_the_type_of_its_value():
    template = {
        "messages": "{{ chat }}",
        "max_tokens": "{{ score }}",
        "temperature": "{{ score / 4 }}",
        "stop": "{{ stops }}",
        "response_format": "{{ form }}",
        "metadata": {"of": "{{ question }} {{ score }}"},
    }
    chat = [{"role": "user", "content": "Hi", "name": None}]
    columns = QUESTIONS | {
        "chat": [chat, chat],
        "stops": [["."], None],
        "form": [{"type": "text", "json_schema": None}] * 2,
    }
    [first, second] = bodies(columns, template=template)
    assert first == {
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 1,
        "temperature": 0.25,
        "stop": ["."],
        "response_format": {"type": "text"},
        "metadata": {"of": "Why? 1"},
    }
    assert second["stop"] is None


def test_numbers_dates_and_decimals_are_printed_as_in_jinja():
    columns = {
        "int": [3],
        "float": [0.1],
        "bool": [True],
        "price": pa.array([Decimal("12.50")], pa.decimal128(10, 2)),
        "day": pa.array([0], pa.date32()),
        "time": pa.array([1_500_000_001], pa.timestamp("ns")),
        "kind": pa.array(["x"]).dictionary_encode(),
        "text": pa.array(["t"], pa.large_string()),
    }
    prompt = "|".join(f"{{{{ {name} }}}}" for name in columns)
    assert contents(columns, prompt) == [
        "3|0.1|True|12.50|1970-01-01|1970-01-01 00:00:01.500000|x|t"
    ]
    [as_json] = contents(columns, "{{ row | tojson }}")
    assert json.loads(as_json) == {
        "int": 3,
        "float": 0.1,
        "bool": True,
        "price": 12.5,
        "day": "1970-01-01",
        "time": "1970-01-01T00:00:01.500000",
        "kind": "x",
        "text": "t",
    }


def test_a_prompt_column_may_hold_messages():
    messages = [{"role": "user", "content": "Hi"}]
    found = bodies({"chat": [messages]}, prompt_column="chat", system="Be brief.")
    system = {"role": "system", "content": "Be brief."}
    assert found == [{"messages": [system, *messages]}]


def test_the_row_is_a_variable_for_columns_with_other_names():
    columns = {"my text": ["a"], "other": [None]}
    assert contents(columns, "{{ row['my text'] }}") == ["a"]
    assert contents(columns, "{{ row['my text'] }}{{ row.other or '' }}") == ["a"]
    assert contents({"row": ["x"]}, "{{ row }}") == ["x"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ a or 'none' }}",
        "{{ a | default('none') }}",
        "{% if a is none %}none{% endif %}",
        "{{ 'none' if not a }}",
        "{% if a == none %}none{% endif %}",
    ],
)
def test_a_template_can_allow_a_null(template):
    assert contents({"a": pa.array([None], pa.string())}, template) == ["none"]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("{{ text }}", "the prompt: `text` is null"),
        ("{{ text | upper }}", "the prompt: `text` is null"),
        ("{{ text ~ 'a' }}", "the prompt: `text` is null"),
        ("{% for c in text %}{{ c }}{% endfor %}", "the prompt: `text` is null"),
        ("{{ row.text }}", "the prompt: `text` is null"),
        ("{{ tags | join(', ') }}", "the prompt: a value is null"),
        ("{% for tag in tags %}{{ tag }}{% endfor %}", "the prompt: a value is null"),
        ("{% set t %}{{ tags[0] }}{% endset %}{{ t }}", "the prompt: `0` is null"),
        ("{{ meta.author }}", "the prompt: `author` is null"),
        ("{{ meta.writer }}", "the prompt: there is no field `writer`"),
        ("{{ blob }}", "the prompt: a value is binary data"),
        ("{{ raise_exception('bad row') }}{{ text }}", "the prompt: bad row"),
        ("{{ 1 + meta }}", "the prompt can't be rendered: unsupported operand"),
    ],
)
def test_a_value_that_is_missing_is_the_error_of_its_row(prompt, said):
    columns = {
        "text": pa.array([None, "b"], pa.string()),
        "tags": [[None], ["x"]],
        "meta": [{"author": None, "year": 1}, {"author": "A", "year": 2}],
        "blob": [b"\xff", b"\xff"],
    }
    [bad, good] = lines_of(columns, prompt=prompt)
    parsed = Parser("m").parse(bad, 1)
    assert isinstance(parsed, InvalidLine)
    assert parsed.custom_id == "row-1"
    [problem] = parsed.problems
    assert (problem.code, problem.line, problem.in_body) == ("invalid_row", 1, True)
    assert problem.message.startswith(said)
    assert json.loads(good)["custom_id"] == "row-2"


def test_text_that_is_not_utf_8_is_the_error_of_its_row():
    wrong = pa.array([b"\xff", b"ok"]).view(pa.string())
    [bad, good] = lines_of({"text": wrong}, prompt="{{ text }}")
    assert json.loads(bad)["row_error"] == "`text` is not valid UTF-8"
    assert json.loads(good)["body"]["messages"][0]["content"] == "ok"


@pytest.mark.parametrize("value", [None, "", "x" * 513])
def test_an_unusable_id_is_the_error_of_its_row(value):
    columns = {"id": pa.array([value, "b"], pa.string()), "text": ["a", "b"]}
    [bad, good] = map(
        json.loads, lines_of(columns, prompt="{{ text }}", id_column="id")
    )
    assert bad["custom_id"] == "row-1"
    assert bad["row_error"].startswith("the ID in column `id` is ")
    assert good["custom_id"] == "b"


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        ({"prompt": "{{ questian }}"}, "names `questian`", "did you mean `question`?"),
        ({"prompt": "{{ row.questian }}"}, "names `questian`", "`question`"),
        ({"prompt_column": "text"}, "names `text`", "the columns are `id`"),
        ({"prompt": "a", "id_column": "key"}, "`id_column` names `key`", "columns are"),
        ({"prompt": "a", "system": "{{ x }}"}, "the system prompt names `x`", ""),
        ({"prompt": "{% if %}"}, "the prompt is invalid", "jinja"),
        ({"prompt": "{{ [1, 2] | random }}"}, "No filter named 'random'", "jinja"),
        ({"prompt": "{{ lipsum() }}"}, "names `lipsum`", "columns are"),
        ({"prompt": "a", "prompt_column": "id"}, "both give the messages", "one"),
        ({"template": {"max_tokens": 3}}, "nothing says what to ask", "`messages`"),
        ({}, "nothing says what to ask", "`prompt`"),
        ({"template": {"messages": "{{ a }} {{ b }}"}}, "names `a`", "columns"),
        ({"template": {"messages": []}}, "must be a list of messages", "rows.md"),
        ({"prompt": "a", "samples": 0}, "`samples` is 0", ""),
    ],
)
def test_what_is_wrong_for_all_rows_is_one_error(options, said, hint):
    with pytest.raises(UsageError) as caught:
        lines_of(QUESTIONS, **options)
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_template_has_limited_depth_and_size():
    deep: Any = "{{ id }}"
    for _ in range(2_000):
        deep = [deep]
    with pytest.raises(UsageError, match="nested too deeply"):
        lines_of(QUESTIONS, prompt="a", template={"metadata": deep})
    many = {f"k{number}": "{{ id }}" for number in range(1_001)}
    with pytest.raises(UsageError, match="more than 1000 strings with templates"):
        lines_of(QUESTIONS, prompt="a", template={"metadata": many})


def test_a_column_of_another_type_is_no_prompt():
    with pytest.raises(UsageError, match="has the type list") as caught:
        lines_of({"tags": [["a"]]}, prompt_column="tags")
    assert "--prompt" in (caught.value.hint or "")


def test_the_model_is_part_of_the_body_if_it_is_given():
    [first, _] = bodies(QUESTIONS, prompt="{{ question }}", model="m")
    assert first["model"] == "m"


def test_a_template_that_is_too_slow_fails_after_some_rows():
    rows = (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    )
    table = pa.table({"text": ["a"] * 3})
    requests = RowRequests(RowOptions(prompt=rows + "{{ text }}"), table.schema)
    template = cast("TextField", requests._fields[0])._template
    template._cpu_seconds = template._min_cpu_seconds = 0.1
    template._slow_rows = 31
    with pytest.raises(UsageError, match="exceeds the limits of time or memory"):
        list(requests.lines(TableRows(table)))
