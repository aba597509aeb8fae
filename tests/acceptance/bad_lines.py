"""A file with many kinds of invalid lines among a few valid ones."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

from tests.acceptance.inputs import line

GOOD = 10
_DECIMAL = {
    "temperature",
    "top_p",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
}
MB = 1_000_000


class Bad(NamedTuple):
    """An invalid line: its bytes, the expected error, and its custom_id if any."""

    raw: Iterable[bytes]
    code: str
    param: str | None
    custom_id: str | None

    @property
    def is_of_form(self) -> bool:
        """Whether it fails the batch unless the user says otherwise."""
        return self.code != "line_too_long" and self.param in _FORM


_FORM = {None, "custom_id", "method", "url", "body", "bodi", "body.model"}


class BadFile(NamedTuple):
    """The file, its number of lines, and the invalid ones by line number."""

    path: Path
    lines: int
    bad: dict[int, Bad]


def write(path: Path, *, with_form: bool = True) -> BadFile:
    """Write the file, or one whose lines are requests, if with invalid bodies."""
    good = [line(f"good-{index}", f"Question {index}") for index in range(GOOD)]
    kinds = [bad for bad in bad_lines() if with_form or not bad.is_of_form]
    line_of: dict[int, Bad] = {}
    with path.open("wb") as out:
        for number, bad in enumerate(kinds):
            if number % (len(kinds) // GOOD) == 0 and good:
                out.write(good.pop(0))
            out.writelines(bad.raw)
            line_of[1 + number + GOOD - len(good)] = bad
    assert not good
    return BadFile(path, len(kinds) + GOOD, line_of)


def bad_lines() -> Iterator[Bad]:
    """Yield every kind of invalid line."""
    yield from _unreadable()
    yield from _misshapen()
    yield from _wrong_messages()
    yield from _wrong_types()
    yield from _one_step_outside()
    yield from _at_odds()


def _unreadable() -> Iterator[Bad]:
    good = line("x")
    deep = b'{"messages": %b1%b}' % (b"[" * 100_000, b"]" * 100_000)
    for raw in (
        b"hello\n",
        good[:-2] + b"\n",
        good.replace(b"Tell", "Té".encode("latin-1")),
        good.replace(b"Tell", b"\xed\xa0\x80"),
        good.replace(b"8", b"NaN"),
        good.replace(b"8", b"-Infinity"),
        good.replace(b"8", b"1e400"),
        good.replace(b"8", b"9" * 5_000),
        good.replace(b"8", b"07"),
        good.replace(b'"', b"'"),
        good[:-1] + b" // why\n",
        deep + b"\n",
    ):
        yield Bad([raw], "invalid_json_line", None, None)
    head, _, tail = line("long", "@").partition(b"@")
    long = chain([head], repeat(b"x" * MB, 100), [tail])
    yield Bad(long, "line_too_long", None, "long")


def _misshapen() -> Iterator[Bad]:
    """Yield lines that are JSON but no request."""

    def bad(code: str, param: str | None, **changes: Any) -> Bad:
        request = json.loads(line("shape")) | {"custom_id": f"shape-{param}-{code}"}
        request |= changes
        kept = {name: it for name, it in request.items() if it is not ...}
        custom_id = kept.get("custom_id")
        known = custom_id if isinstance(custom_id, str) else None
        return Bad([json.dumps(kept).encode() + b"\n"], code, param, known)

    yield Bad([b"[1]\n"], "invalid_request", None, None)
    yield Bad([b"null\n"], "invalid_request", None, None)
    missing = "missing_required_parameter"
    yield bad(missing, "custom_id", custom_id=...)
    yield bad("invalid_type", "custom_id", custom_id=7)
    yield bad("string_below_min_length", "custom_id", custom_id="")
    yield bad("string_above_max_length", "custom_id", custom_id="y" * 513)
    yield bad("duplicate_custom_id", "custom_id", custom_id="good-0")
    yield bad(missing, "method", method=...)
    yield bad("invalid_method", "method", method="GET")
    yield bad(missing, "url", url=...)
    yield bad("invalid_url", "url", url="/v1/embeddings")
    yield bad(missing, "body", body=...)
    yield bad("invalid_type", "body", body=[])
    yield bad("unknown_parameter", "bodi", bodi={})


def _wrong_messages() -> Iterator[Bad]:
    def bad(code: str, param: str, *messages: Any) -> Bad:
        name = f"messages-{param}-{code}"
        return Bad([line(name, messages=[*messages])], code, param, name)

    first = "messages[0]"
    yield bad("empty_array", "messages")
    yield bad("invalid_type", first, "Hi")
    yield bad("invalid_value", f"{first}.role", {"role": "bot", "content": "Hi"})
    yield bad("missing_required_parameter", f"{first}.content", {"role": "user"})
    yield bad("invalid_type", f"{first}.content", {"role": "user", "content": None})
    half = {"role": "user", "content": "\ud800"}
    yield bad("invalid_value", f"{first}.content", half)
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}
    yield bad("invalid_value", f"{first}.content[0].type", picture)
    far = {"role": "user", "content": "word " * 3_000}
    yield bad("context_length_exceeded", "messages", far)


def _body(code: str, name: str, value: Any, *, at: str = "", **more: Any) -> Bad:
    custom_id = f"{name}={value!r:.40}"
    raw = line(custom_id, **{name: value}, **more)
    return Bad([raw], code, f"{name}{at}", custom_id)


def _wrong_types() -> Iterator[Bad]:
    for name, value in {
        "max_tokens": True,
        "top_k": 5.0,
        "seed": "7",
        "n": "1",
        "temperature": "0.5",
        "top_p": False,
        "logprobs": 1,
        "ignore_eos": "true",
        "logit_bias": [],
        "bad_words": "no",
        "metadata": "none",
        "user": 7,
    }.items():
        yield _body("invalid_type", name, value)
    yield _body("invalid_type", "stop", ["a", 1], at="[1]")


def _one_step_outside() -> Iterator[Bad]:
    for name, values in {
        "temperature": (-0.01, 2.01),
        "top_p": (0, 1.01),
        "min_p": (-0.01, 1.01),
        "top_k": (-2, 1_000),
        "max_tokens": (-1, 1_000_001),
        "max_completion_tokens": (-1, 1_000_001),
        "min_tokens": (-1, 1_000_001),
        "presence_penalty": (-2.01, 2.01),
        "frequency_penalty": (-2.01, 2.01),
        "repetition_penalty": (0.0099, 5.01),
        "seed": (-2, 2**63),
        "n": (0, 129),
        "top_logprobs": (-1, 21),
    }.items():
        for value, side in zip(values, ("below_min", "above_max"), strict=True):
            kind = "decimal" if name in _DECIMAL else "integer"
            yield _body(f"{kind}_{side}_value", name, value)
    yield _body("decimal_above_max_value", "logit_bias", {"7": 100.01}, at=".7")
    yield _body("invalid_value", "logit_bias", {"seven": 1}, at=".seven")
    yield _body("integer_below_min_value", "stop_token_ids", [-1], at="[0]")
    yield _body("integer_above_max_value", "stop_token_ids", [2**31], at="[0]")
    yield _body("array_above_max_length", "stop", ["a", "b", "c", "d", "e"])
    yield _body("string_below_min_length", "stop", "")


def _at_odds() -> Iterator[Bad]:
    """Yield lines with conflicting or unknown fields."""
    yield _body("invalid_value", "n", 2, temperature=0)
    yield _body("invalid_value", "top_logprobs", 3)
    yield _body("invalid_value", "min_tokens", 9)
    yield _body("unknown_parameter", "max_token", 1)
    yield _body("empty_array", "tools", [])
    other = line("other", model="another")
    yield Bad([other], "mismatched_model", "body.model", "other")
    twice = line("twice").replace(b'"max_tokens"', b'"max_tokens": 8, "max_tokens"')
    yield Bad([twice], "duplicate_key", "max_tokens", "twice")
