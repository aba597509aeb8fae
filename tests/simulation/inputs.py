"""The input files of a simulated cluster's users."""

import json
from random import Random

from batchchat.jobs.rows.row_options import RowOptions
from tests.simulation.engines import DEADLY
from tests.simulation.virtual_time import VirtualWorld

_ROWS_SHARE = 0.25


def input_file(world: VirtualWorld) -> bytes:
    """Return an input of mostly valid lines, sometimes with a deadly request."""
    rng = world.rng
    requests = rng.choice([1, 3, 8, 14, 22])
    deadly = {rng.randrange(requests)} if rng.random() < 0.25 else set()
    bad = {rng.randrange(requests)} - deadly if rng.random() < 0.2 else set()
    twice = {requests - 1} - deadly - bad if rng.random() < 0.1 else set()
    other = Random(f"{requests} {deadly} {bad}")
    wrong = other.sample(range(requests), other.choice([0, 0, 0, 0, 1, requests]))
    lines = []
    for index in range(requests):
        content = f"question {index}" + (f" {DEADLY}" if index in deadly else "")
        lines.append(
            {
                "custom_id": "q-0" if index in twice else f"q-{index}",
                "method": "GET" if index in bad else "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "messages": [{"role": "user", "content": content}],
                    "max_tokens": 1 + index % 5,
                    "temperature": 9 if index in wrong else 1,
                },
            }
        )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


_ROWS = RowOptions(
    template={
        "messages": [{"role": "user", "content": "{{ content }}"}],
        "max_tokens": "{{ max_tokens }}",
        "temperature": "{{ temperature }}",
    },
    id_column="id",
)


def as_rows(data: bytes) -> tuple[bytes, RowOptions | None]:
    """Return every fourth input, by its content, as rows that become its requests."""
    lines = [json.loads(line) for line in data.splitlines()]
    if Random(data).random() >= _ROWS_SHARE or any(
        line["method"] == "GET" for line in lines
    ):
        return data, None
    rows = [
        {
            "id": line["custom_id"],
            "content": line["body"]["messages"][0]["content"],
            "max_tokens": line["body"]["max_tokens"],
            "temperature": line["body"]["temperature"],
        }
        for line in lines
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows), _ROWS
