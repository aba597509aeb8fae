"""The engine's interface: what it receives and what it returns."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from batchchat.jobs.engine.sampling import Sampling
from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.prompts.renderer import Prompt
from batchchat.jobs.requests.output_constraints import OutputConstraints
from batchchat.jobs.requests.schema import Request


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One generated choice.

    `text` is None if the model called tools and generated no text. `logprobs` is
    OpenAI's `content` list, None if the request did not ask for it.
    """

    index: int
    text: str | None
    finish_reason: str
    stop_reason: str | int | None = None
    logprobs: list[dict[str, Any]] | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] = []


class Completion(msgspec.Struct, kw_only=True):
    """The answer to one request.

    `completion_tokens` include `reasoning_tokens`, which is None if the model does not
    reason. `engine_seconds` is the request's share of the engine's time. `turns` are
    the generated turns of a conversation, and `number` is the place among all its
    turns, from 0, of the one that `choices` answer.
    """

    choices: list[Choice]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int | None = None
    engine_seconds: float = 0.0
    turns: list["GeneratedTurn"] = []
    number: int = 0


class GeneratedTurn(msgspec.Struct, frozen=True):
    """A turn that the model generated; `index` is its position in `messages`."""

    index: int
    completion: Completion


class EngineRequest(msgspec.Struct, frozen=True):
    """One request in the form that the engine takes; `key` is unique in the process.

    Requests of different `project`s share no cached prefixes.
    """

    key: str
    project: str
    prompt: Prompt
    sampling: Sampling
    constraints: OutputConstraints | None = None


CompletionOrError = Completion | BatchchatError
"""The outcome of a request. A `RequestRefusedError` is final; after any other error the
request has no answer and must be submitted again."""


class EngineActivity(NamedTuple):
    """What an engine has done and is doing.

    `generated_tokens` counts the tokens of all steps, `unfinished_tokens` those of
    them that belong to requests without an answer. `running` requests are computed,
    `waiting` ones wait for that. `idle_seconds` is the age of the last finished step,
    None while there are no requests.
    """

    steps: int = 0
    generated_tokens: int = 0
    unfinished_tokens: int = 0
    running: int = 0
    waiting: int = 0
    idle_seconds: float | None = None


class Engine(Protocol):
    """Runs a bounded number of requests at once; thread-safe."""

    capacity: int
    """The most requests that it accepts: about twice what it computes at once."""

    fingerprint: str
    """A hash of everything besides the request that affects the answers."""

    identity: dict[str, Any]
    """The content of the fingerprint, in readable form."""

    @property
    def steps(self) -> int:
        """The number of steps computed so far; it grows as long as the engine works."""
        ...

    def activity(self) -> EngineActivity:
        """Return what the engine has done and is doing."""
        ...

    def prepare(self, request: Request, batch_id: str = "") -> Prompt:
        """Render and tokenize one request, and check its output constraints.

        Constraints that are slow to check reduce the time for others of the batch.
        Raises `RequestRefusedError`.
        """
        ...

    def remaining_context(self, prompt: Prompt) -> int:
        """Return how many tokens the context has left after the prompt."""
        ...

    def submit(
        self,
        work: EngineRequest,
        on_done: Callable[[CompletionOrError], None],
        timeout: float,
    ) -> bool:
        """Accept a request, or return False if there is no room for `timeout` seconds.

        `on_done` is called once, from a thread of the engine, and must return quickly.
        Raises `EngineDeadError`.
        """
        ...

    def abort(self, keys: list[str]) -> None:
        """Drop requests; their `on_done` gets an error or is never called."""
        ...
