"""Files of requests, as users write them."""

import json
import random
from math import log
from typing import Any


def line(custom_id: str, content: str = "Tell me more", **body: Any) -> bytes:
    """Return a line of OpenAI's batch format, with its line feed."""
    messages = [{"role": "user", "content": content}]
    request = {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": messages, "max_tokens": 8, **body},
    }
    return json.dumps(request).encode() + b"\n"


def few(count: int = 3) -> bytes:
    """Return a small valid file."""
    return b"".join(line(f"q-{index}", f"Question {index}") for index in range(count))


def lognormal(count: int, *, middle: int, most: int, least: int = 4) -> bytes:
    """Return requests of very different lengths, half of them with their own seed."""
    source = random.Random(1)
    lines = []
    for index in range(count):
        length = round(source.lognormvariate(log(middle), 0.9))
        tokens = min(most, max(least, length))
        seed = {"seed": source.randrange(2**31)} if index % 2 else {}
        content = f"Question {index}: " + "and then? " * source.randrange(20)
        body = {"max_tokens": tokens, "ignore_eos": True, **seed}
        lines.append(line(f"q-{index}", content, **body))
    return b"".join(lines)


def custom_ids(data: bytes) -> list[str]:
    """Return the ids of the requests of a file, in its order."""
    return [json.loads(line)["custom_id"] for line in data.splitlines() if line.strip()]
