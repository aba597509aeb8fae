"""Conversations of every kind that chat templates distinguish."""

import json
from typing import Any

Body = dict[str, Any]


def _user(text: str) -> Body:
    return {"role": "user", "content": text}


def _answer(text: str, **fields: Any) -> Body:
    return {"role": "assistant", "content": text, **fields}


def _call(number: int, **arguments: Any) -> Body:
    function = {"name": "weather", "arguments": json.dumps(arguments)}
    return {"id": f"call0000{number}", "type": "function", "function": function}


def _result(number: int, text: str) -> Body:
    return {
        "role": "tool",
        "tool_call_id": f"call0000{number}",
        "name": "weather",
        "content": text,
    }


SYSTEM = {"role": "system", "content": "Be brief & kind."}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town, <now> & then",
        "parameters": {
            "type": "object",
            "properties": {
                "town": {"type": "string", "description": "A “town”, e.g. Köln"},
                "days": {"type": "integer", "description": "How many?"},
            },
            "required": ["town"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {}}}
ASKED = _user("How warm is it in Köln and Oslo?")
CALLED = _answer("Let me look.", tool_calls=[_call(1, town="Köln", days=1)])
PARALLEL = _answer("", tool_calls=[_call(1, town="Köln"), _call(2, town="Oslo")])
RESULTS = [_result(1, '{"celsius": 7}'), _result(2, "-3 °C")]

CONVERSATIONS: dict[str, Body] = {
    "one turn": {"messages": [_user("Hello!")]},
    "system": {"messages": [SYSTEM, _user("Hello!")]},
    "several turns": {
        "messages": [_user("1?"), _answer("2."), _user("3?"), _answer("4."), _user("5")]
    },
    "system and turns": {
        "messages": [SYSTEM, _user("One?"), _answer("Two."), _user("Three?")]
    },
    "late system": {
        "messages": [_user("One?"), _answer("Two."), SYSTEM, _user("Three?")]
    },
    "developer": {"messages": [{**SYSTEM, "role": "developer"}, _user("Hi")]},
    "unicode and markup": {
        "messages": [SYSTEM, _user("  <b>名前</b> & 'é' \n\u2028 {{ 1 }} 🙂\n")]
    },
    "parts": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "first"},
                    {"type": "text", "text": "second"},
                ],
            }
        ]
    },
    "names": {"messages": [{**_user("Hi"), "name": "ann"}, _answer("Hi, Ann.")]},
    "two users": {"messages": [_user("One?"), _user("Two?")]},
    "assistant last": {"messages": [_user("One?"), _answer("Two")]},
    "empty text": {"messages": [SYSTEM, _user("")]},
    "tools": {"messages": [ASKED], "tools": [WEATHER]},
    "system and tools": {"messages": [SYSTEM, ASKED], "tools": [WEATHER, CLOCK]},
    "a call": {"messages": [ASKED, CALLED, RESULTS[0]], "tools": [WEATHER]},
    "parallel calls": {"messages": [ASKED, PARALLEL, *RESULTS], "tools": [WEATHER]},
    "calls and turns": {
        "messages": [SYSTEM, ASKED, PARALLEL, *RESULTS, _answer("7 and -3."), ASKED],
        "tools": [WEATHER, CLOCK],
    },
    "calls without tools": {"messages": [ASKED, CALLED, RESULTS[0]]},
    "reasoning": {
        "messages": [
            ASKED,
            _answer("Warm.", reasoning_content="I guess."),
            _user("And now?"),
        ]
    },
    "reasoning in the text": {
        "messages": [ASKED, _answer("<think>\nHm.\n</think>\n\nWarm."), _user("Now?")]
    },
    "reasoning and a call": {
        "messages": [ASKED, {**CALLED, "reasoning": "I need a tool."}, RESULTS[0]],
        "tools": [WEATHER],
    },
    "thinking off": {
        "messages": [SYSTEM, ASKED],
        "chat_template_kwargs": {"enable_thinking": False},
    },
    "thinking on": {
        "messages": [SYSTEM, ASKED],
        "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
    },
    "effort": {"messages": [SYSTEM, ASKED], "reasoning_effort": "high"},
}
