"""Batches that end in every possible way, created once for all tests."""

import json
from dataclasses import dataclass
from typing import Any, Literal, Self

from openai import OpenAI
from openai.types import Batch

from tests.support.wait import wait_until

ENDED = {"completed", "failed", "expired", "cancelled"}
URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"


def line(custom_id: str, **fields: Any) -> dict[str, Any]:
    """Return a line of an input."""
    message = {"role": "user", "content": f"Say something about {custom_id}."}
    body = {"model": "demo", "messages": [message], "max_tokens": 8} | fields
    return {"custom_id": custom_id, "method": "POST", "url": URL, "body": body}


def jsonl(*lines: Any) -> bytes:
    """Return an input file."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


GOOD = [line(f"q-{number}") for number in range(6)]
INVALID = line("invalid", logit_bias={"99999999": 1})
BODY_ERRORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "hot": ("temperature", "decimal_above_max_value", {"temperature": 9}),
    "misspelled": ("max_token", "unknown_parameter", {"max_token": 1}),
    "long": (
        "messages",
        "context_length_exceeded",
        {"messages": [{"role": "user", "content": "word " * 3_000}]},
    ),
    "picture": (
        "messages[0].content[0].type",
        "invalid_value",
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
    ),
}
"""Errors in the body of a request: `param`, `code`, and the fields that cause them."""

WRONG = [line(name, **fields) for name, (_, _, fields) in BODY_ERRORS.items()]
LONG = [
    line(f"slow-{number}", max_tokens=1_900, ignore_eos=True) for number in range(64)
]
BAD = jsonl(
    GOOD[0], {"custom_id": "b", "method": "GET", "url": URL, "body": {}}, GOOD[0]
)


def start(client: OpenAI, data: bytes, **options: Any) -> Batch:
    """Submit a file; extensions of OpenAI's API go into the option `extra_body`."""
    file = client.files.create(file=("input.jsonl", data), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=URL, completion_window="24h", **options
    )


def until_ended(client: OpenAI, batch: Batch, seconds: float = 240) -> Batch:
    """Poll a batch until it has ended."""

    def ended() -> Batch | None:
        now = client.batches.retrieve(batch.id)
        return now if now.status in ENDED else None

    return wait_until(ended, f"the end of {batch}", seconds=seconds)


def lines_of(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    """Return the lines of an output or an error file."""
    if file_id is None:
        return []
    return [
        json.loads(text) for text in client.files.content(file_id).text.splitlines()
    ]


@dataclass
class Stories:
    """The batches."""

    mixed: Batch
    wrong_bodies: Batch
    all_failed: Batch
    invalid: Batch
    skipped: Batch
    seeded: Batch
    seeded_again: Batch
    kept_briefly: Batch
    cancelled: Batch

    @classmethod
    def begin(cls, client: OpenAI) -> Self:
        """Submit all batches."""
        seeded = {"extra_body": {"seed": 7}}
        warm = [line(f"warm-{n}", temperature=1) for n in range(4)]
        skip = {"on_invalid": "skip"}
        return cls(
            mixed=start(client, jsonl(*GOOD, INVALID)),
            wrong_bodies=start(client, jsonl(*GOOD, *WRONG)),
            all_failed=start(client, jsonl(INVALID, *WRONG)),
            invalid=start(client, BAD),
            skipped=start(client, BAD, extra_body=skip),
            seeded=start(client, jsonl(*warm), **seeded),
            seeded_again=start(client, jsonl(*warm), **seeded),
            kept_briefly=start(
                client,
                jsonl(*GOOD),
                output_expires_after={"anchor": "created_at", "seconds": 7_200},
            ),
            cancelled=start(client, jsonl(*LONG), extra_body={"priority": "low"}),
        )

    def until_ended(self, client: OpenAI) -> Self:
        """Wait for all batches; the last one is cancelled while it runs."""
        for name, batch in vars(self).items():
            if name != "cancelled":
                setattr(self, name, until_ended(client, batch))
        name = self.cancelled.id
        wait_until(lambda: client.batches.retrieve(name).status != "validating")
        client.batches.cancel(self.cancelled.id)
        self.cancelled = until_ended(client, self.cancelled)
        return self
