"""A core that computes nothing: for unit tests and for the simulation of load.

Its answers are drawn from the request's seed and prompt alone, so that two runs
of one request can be compared as with the real engine.
"""

import time
from hashlib import blake2b
from random import Random
from typing import Any

from batchchat.jobs.engine.protocol import Answer, Choice, Completion, Work
from batchchat.jobs.prompts.renderer import Prompter
from batchchat.jobs.requests.output_constraints import Form
from batchchat.workers.engine.driver import EngineDriver

_WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")


class EchoCore:
    """Answers each request after a set time."""

    def __init__(
        self, *, capacity: int = 256, latency: float = 0.0, per_token: float = 0.0
    ) -> None:
        """Take `latency` seconds for an answer, and `per_token` for each token."""
        self.capacity = capacity
        self.identity: dict[str, Any] = {"engine": "echo"}
        self._latency = latency
        self._per_token = per_token
        self._due: dict[str, tuple[float, Work]] = {}

    def add(self, work: Work) -> None:
        """Begin with `work`."""
        seconds = self._latency + self._per_token * work.sampling.max_tokens
        self._due[work.key] = (time.monotonic() + seconds, work)

    def step(self) -> list[tuple[str, Answer]]:
        """Return what is due, after a wait for the first that is."""
        wait = min(due for due, _ in self._due.values()) - time.monotonic()
        if wait > 0:
            time.sleep(min(wait, 0.01))
        now = time.monotonic()
        done = [work for due, work in self._due.values() if due <= now]
        for work in done:
            del self._due[work.key]
        return [(work.key, echo(work)) for work in done]

    def abort(self, keys: list[str]) -> None:
        """Forget work."""
        for key in keys:
            self._due.pop(key, None)

    def close(self) -> None:
        """Do nothing: there is no process."""

    def is_alive(self) -> bool:
        """Say yes: there is no process."""
        return True

    def interrupt_step(self) -> None:
        """Do nothing: no step waits for long."""

    def check_constraints(self, form: Form, batch_id: str) -> None:
        """Do nothing: an echo has no form."""


def echo(work: Work) -> Completion:
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


def _choice(prompt: str, seed: int, index: int, most: int) -> Choice:
    digest = blake2b(f"{seed}:{prompt}".encode(), digest_size=8).digest()
    source = Random(digest)  # noqa: S311 - noise, no secrets
    words = source.choices(_WORDS, k=source.randint(1, most))
    reason = "length" if len(words) == most else "stop"
    return Choice(index=index, text=" ".join(words), finish_reason=reason)


def start_echo(prompter: Prompter, **speed: Any) -> EngineDriver:
    """Return a running engine that echoes; `speed` is `EchoCore`'s."""
    engine = EngineDriver(lambda: EchoCore(**speed), prompter)
    engine.start()
    return engine
