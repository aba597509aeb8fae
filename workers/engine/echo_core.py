"""A core without a model, for unit tests and load simulation.

An answer depends only on the request's seed and prompt, so that two runs of one
request can be compared as with a real engine.
"""

import time
from hashlib import blake2b
from random import Random
from typing import Any

from typing_extensions import override

from batchchat.jobs.engine.protocol import (
    Choice,
    Completion,
    CompletionOrError,
    EngineRequest,
)
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.requests.output_constraints import OutputConstraints
from batchchat.workers.engine.core import Core
from batchchat.workers.engine.driver import EngineDriver

_WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
_MAX_SLEEP_SECONDS = 0.01


class EchoCore(Core):
    """Answers each request after a configurable time."""

    def __init__(
        self, *, capacity: int = 256, latency: float = 0.0, per_token: float = 0.0
    ) -> None:
        """An answer takes `latency` seconds plus `per_token` seconds for each token."""
        self.capacity = capacity
        self.identity: dict[str, Any] = {"engine": "echo"}
        self._latency = latency
        self._per_token = per_token
        self._due: dict[str, tuple[float, EngineRequest]] = {}

    @override
    def add(self, work: EngineRequest) -> None:
        seconds = self._latency + self._per_token * work.sampling.max_tokens
        self._due[work.key] = (time.monotonic() + seconds, work)

    @override
    def step(self) -> list[tuple[str, CompletionOrError]]:
        wait = min(due for due, _ in self._due.values()) - time.monotonic()
        if wait > 0:
            time.sleep(min(wait, _MAX_SLEEP_SECONDS))
        now = time.monotonic()
        done = [work for due, work in self._due.values() if due <= now]
        for work in done:
            del self._due[work.key]
        return [(work.key, echo(work)) for work in done]

    @override
    def abort(self, keys: list[str]) -> None:
        for key in keys:
            self._due.pop(key, None)

    @override
    def close(self) -> None:
        """Do nothing: there is no process to end."""

    @override
    def is_alive(self) -> bool:
        return True

    @override
    def interrupt_step(self) -> None:
        """Do nothing: a step returns within milliseconds."""

    @override
    def check_constraints(self, constraints: OutputConstraints, batch_id: str) -> None:
        """Accept all constraints; the answers ignore them."""


def echo(work: EngineRequest) -> Completion:
    """Return the answer that the seed and the prompt determine."""
    sampling = work.sampling
    choices = [
        _choice(work.prompt.text, sampling.seed + index, index, sampling.max_tokens)
        for index in range(sampling.n)
    ]
    return Completion(
        choices=choices,
        prompt_tokens=len(work.prompt.token_ids),
        completion_tokens=sum(len((choice.text or "").split()) for choice in choices),
    )


def _choice(prompt: str, seed: int, index: int, max_tokens: int) -> Choice:
    digest = blake2b(f"{seed}:{prompt}".encode(), digest_size=8).digest()
    source = Random(digest)  # noqa: S311 - not used for security
    words = source.choices(_WORDS, k=source.randint(1, max_tokens))
    reason = "length" if len(words) == max_tokens else "stop"
    return Choice(index=index, text=" ".join(words), finish_reason=reason)


def start_echo(renderer: PromptRenderer, **speed: Any) -> EngineDriver:
    """Return a running echo engine; `speed` holds arguments of `EchoCore`."""
    engine = EngineDriver(lambda: EchoCore(**speed), renderer)
    engine.start()
    return engine
