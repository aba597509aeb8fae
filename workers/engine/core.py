"""The part of an engine that computes; `EngineDriver` runs one on its own thread."""

from collections.abc import Iterable
from typing import Any, Protocol

from batchchat.jobs.engine.protocol import CompletionOrError, EngineRequest
from batchchat.jobs.requests.output_constraints import OutputConstraints


class Core(Protocol):
    """Computes answers to requests.

    Only the thread that built it may call it, except for `is_alive`,
    `interrupt_step` and `check_constraints`, which any thread may call.
    """

    capacity: int
    """The maximum number of requests to hold at a time, running and waiting."""

    identity: dict[str, Any]
    """Everything besides the request that determines an answer, as JSON values."""

    @property
    def generated_tokens(self) -> int:
        """The number of tokens that all steps together have generated."""
        ...

    @property
    def running(self) -> int:
        """The number of requests that the last step computed."""
        ...

    def add(self, work: EngineRequest) -> None:
        """Accept a request. Raises `RequestRefusedError`."""
        ...

    def step(self) -> Iterable[tuple[str, CompletionOrError]]:
        """Compute one step; return the finished requests' keys and answers."""
        ...

    def abort(self, keys: list[str]) -> None:
        """Drop requests without answering them."""
        ...

    def close(self) -> None:
        """Release the core's resources and end all its processes."""
        ...

    def is_alive(self) -> bool:
        """Return whether the core can still compute."""
        ...

    def death_reason(self) -> str | None:
        """Return why the core died, None if the error of its step is the reason."""
        ...

    def interrupt_step(self) -> None:
        """Make a `step` that waits for a dead process raise an error."""
        ...

    def check_constraints(self, constraints: OutputConstraints, batch_id: str) -> None:
        """Check that the core can enforce the constraints; may take seconds.

        A batch that used much time in earlier checks gets less time for the next one.
        Raises `RequestRefusedError`.
        """
        ...
