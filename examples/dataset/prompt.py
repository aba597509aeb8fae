"""Read prompts, and make the requests for several samples of each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.batch import RecipeError, read_lines


@dataclass(frozen=True)
class Prompt:
    """A conversation to answer; `id` is its line number, from 1."""

    id: int
    messages: list[dict[str, Any]]


def read_prompts(path: Path) -> Iterator[Prompt]:
    """Yield the prompts of a file: lines `{"prompt": …}` or `{"messages": […]}`.

    Raises:
        RecipeError: a line is neither, or the file does not exist.

    """
    if not path.exists():
        raise RecipeError(f"`{path}` does not exist")
    for number, line in enumerate(read_lines(path), 1):
        prompt, messages = line.get("prompt"), line.get("messages")
        if isinstance(prompt, str) and messages is None:
            messages = [{"role": "user", "content": prompt}]
        if not isinstance(messages, list) or not messages:
            message = f"`{path}`, prompt {number}: `prompt` or `messages` is required"
            raise RecipeError(message)
        yield Prompt(number, messages)


def requests(
    prompts: Iterable[Prompt], *, samples: int, temperature: float, max_tokens: int
) -> Iterator[dict[str, Any]]:
    """Yield a request for each sample, grouped by prompt.

    The requests have no seeds: batchchat derives them from the batch's seed.
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
    """Return the custom_id of a sample's request."""
    return f"{prompt}-{sample}"


def parse_custom_id(text: str) -> tuple[int, int]:
    """Return the prompt's id and the number of the sample."""
    prompt, _, sample = text.partition("-")
    return int(prompt), int(sample)
