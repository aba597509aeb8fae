"""Prompts, and the requests that ask for many samples of each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.batch import RecipeError, read_lines


@dataclass(frozen=True)
class Prompt:
    """A conversation that waits for an answer; `id` is its line's, from 1."""

    id: int
    messages: list[dict[str, Any]]


def read_prompts(path: Path) -> Iterator[Prompt]:
    """Yield the prompts of a file: lines `{"prompt": …}` or `{"messages": […]}`.

    Raises:
        RecipeError: a line is neither, or there is no such file.

    """
    if not path.exists():
        raise RecipeError(f"there is no file `{path}`")
    for number, line in enumerate(read_lines(path), 1):
        prompt, messages = line.get("prompt"), line.get("messages")
        if isinstance(prompt, str) and messages is None:
            messages = [{"role": "user", "content": prompt}]
        if not isinstance(messages, list) or not messages:
            message = f"`{path}`, prompt {number}: it needs `prompt` or `messages`"
            raise RecipeError(message)
        yield Prompt(number, messages)


def requests(
    prompts: Iterable[Prompt], *, samples: int, temperature: float, max_tokens: int
) -> Iterator[dict[str, Any]]:
    """Yield a request for each sample, those of a prompt one after the other.

    None names a seed: the batch has one, from which each request gets its own.
    """
    for prompt in prompts:
        body = {
            "messages": prompt.messages,
            "temperature": temperature,
            "max_tokens": max_tokens,
        }
        for sample in range(samples):
            yield {
                "custom_id": custom_id(prompt.id, sample),
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }


def custom_id(prompt: int, sample: int) -> str:
    """Return the name of a sample's request."""
    return f"{prompt}-{sample}"


def named(name: str) -> tuple[int, int]:
    """Return the prompt and the sample that a request's name stands for."""
    prompt, _, sample = name.partition("-")
    return int(prompt), int(sample)
