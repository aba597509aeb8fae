"""Columns of JSON, as files have them whose objects have different keys; odd times."""

import json

import pyarrow as pa
import pytest

from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.rows.row_requests import RowRequests
from tests.support.row_files import as_lines, as_parquet, opened

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
OTHER = {"type": "function", "function": {"name": "g", "description": "G"}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
HI = [{"role": "user", "content": "hi"}]
CALLED = [*HI, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
ROWS = [{"q": HI, "tools": [TOOL]}, {"q": CALLED, "tools": [OTHER]}]


def bodies(rows, **options):
    reader = opened(as_lines(rows))
    requests = RowRequests(RowOptions(**options), reader.schema)
    lines = b"".join(requests.lines(reader)).splitlines()
    return [json.loads(line)["body"] for line in lines]


def test_templates_see_the_values_and_no_fields_of_other_rows():
    template = {"messages": "{{ q }}", "tools": "{{ tools }}"}
    first, second = bodies(ROWS, template=template)
    assert first == {"messages": HI, "tools": [TOOL]}
    assert second["tools"] == [OTHER]
    assert second["messages"][1]["tool_calls"] == [CALL]
    [body] = bodies(ROWS[:1], prompt="{{ tools[0].function.name }}")
    assert body["messages"][0]["content"] == "f"


def test_a_prompt_column_of_json_holds_messages_or_texts():
    rows = [*ROWS, {"q": "hello", "tools": []}]
    first, second, third = bodies(rows, prompt_column="q")
    assert first["messages"] == HI
    assert second["messages"][0] == HI[0]
    assert third["messages"] == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize("value", [5, {"a": 1}, [], [1], None])
def test_another_value_is_an_error_of_its_row(value):
    reader = opened(as_lines([*ROWS, {"q": value, "tools": []}]))
    requests = RowRequests(RowOptions(prompt_column="q"), reader.schema)
    lines = b"".join(requests.lines(reader)).splitlines()
    assert len(lines) == 3
    assert b"q" in lines[2]
    assert b'"method"' in lines[0]
    assert b'"messages"' not in lines[2]


def test_a_time_that_python_has_not_is_an_error_of_its_row():
    table = pa.table({"q": ["a", "b"], "at": pa.array([0, 2**60], pa.timestamp("us"))})
    requests = RowRequests(RowOptions(prompt="{{ q }} {{ at }}"), table.schema)
    lines = b"".join(requests.lines(opened(as_parquet(table)))).splitlines()
    assert b"1970-01-01" in lines[0]
    assert b"`at` is a time outside the years 1 to 9999" in lines[1]
