"""What turns requests into answers, as the shard runner sees it."""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from batchchat.jobs.engine.sampling import Sampling
from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.prompts.renderer import Prompt
from batchchat.jobs.requests.output_constraints import OutputConstraints
from batchchat.jobs.requests.schema import Request


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One answer; `logprobs` is OpenAI's `content` list where asked for.

    `text` is None where the model has called tools and said nothing.
    """

    index: int
    text: str | None
    finish_reason: str
    stop_reason: str | int | None = None
    logprobs: list[dict[str, Any]] | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] = []


class Completion(msgspec.Struct, kw_only=True):
    """The answer to one request; `engine_seconds` is its share of the engine.

    `reasoning_tokens` are those of `completion_tokens` that are no answer, None
    where the model does not reason.
    """

    choices: list[Choice]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int | None = None
    engine_seconds: float = 0.0
    turns: list["GeneratedTurn"] = []


class GeneratedTurn(msgspec.Struct, frozen=True):
    """A slot that the model has filled; `index` is its place in the messages."""

    index: int
    completion: Completion


class EngineRequest(msgspec.Struct, frozen=True):
    """One request as the engine is given it; `key` is unique in the process."""

    key: str
    prompt: Prompt
    sampling: Sampling
    constraints: OutputConstraints | None = None


CompletionOrError = Completion | BatchchatError
"""What became of a request. A `RequestRefusedError` is final; after any other
error the request was not answered, and must be asked again."""


class Engine(Protocol):
    """Keeps a bounded number of requests running; safe to use from threads."""

    capacity: int
    """Requests that it holds at most: about twice what it computes at once."""

    fingerprint: str
    """A hash of everything that shapes its answers beside the request."""

    identity: dict[str, Any]
    """What the fingerprint is a hash of, spelled out."""

    @property
    def steps(self) -> int:
        """Steps that it has computed: while this grows, it lives."""
        ...

    def prepare(self, request: Request, batch_id: str = "") -> Prompt:
        """Render and tokenize one request, and see that its form can be had.

        A batch whose forms take long to see through gets less time for each.
        Raises `RequestRefusedError`.
        """
        ...

    def remaining_context(self, prompt: Prompt) -> int:
        """Return how many tokens the context has left behind the prompt."""
        ...

    def submit(
        self,
        work: EngineRequest,
        on_done: Callable[[CompletionOrError], None],
        timeout: float,
    ) -> bool:
        """Take the work, or return False if there was no room for so long.

        `on_done` is called once, from a thread of the engine, and must be quick.
        Raises `EngineDeadError`.
        """
        ...

    def abort(self, keys: list[str]) -> None:
        """Drop work; its `on_done` gets an error or never comes."""
        ...
