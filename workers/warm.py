"""Keeps an engine between batches, since to start one takes from seconds to minutes."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

from jobs.catalog import Model
from jobs.engine import Answer, Completion, Work
from jobs.errors import BatchchatError, RequestRefusedError
from jobs.prompt import Prompt
from jobs.request import Request
from workers.embedded import ClosableEngine


class LivingEngine(ClosableEngine, Protocol):
    """An engine that knows whether it can go on."""

    @property
    def is_alive(self) -> bool:
        """Whether it can take more work."""
        ...


class WarmEngine:
    """Lends the engine of the last model, and starts another where that won't do."""

    def __init__(self, start: Callable[[Model], LivingEngine]) -> None:
        """Start engines by `start`."""
        self._start = start
        self._model: Model | None = None
        self._engine: LivingEngine | None = None

    @property
    def model(self) -> str | None:
        """The name of the model that is loaded."""
        return self._model.name if self._model else None

    def lend(self, model: Model) -> ClosableEngine:
        """Return a living engine for `model`; to close it is to give it back."""
        engine = self._engine
        if engine is None or self._model != model or not engine.is_alive:
            self.close()
            engine = self._start(model)
            self._engine, self._model = engine, model
        return _Lent(engine, self)

    def take_back(self, *, spoilt: bool) -> None:
        """Keep the engine, unless it has died or gave something that is no answer."""
        if self._engine is not None and (spoilt or not self._engine.is_alive):
            self.close()

    def close(self) -> None:
        """End the engine."""
        engine, self._engine, self._model = self._engine, None, None
        if engine is not None:
            with suppress(BatchchatError):
                engine.close()


class _Lent:
    """An engine whose end is not its user's affair."""

    def __init__(self, engine: LivingEngine, owner: WarmEngine) -> None:
        self._engine = engine
        self._owner = owner
        self._spoilt = False
        self.capacity = engine.capacity
        self.identity = engine.identity
        self.fingerprint = engine.fingerprint

    @property
    def steps(self) -> int:
        return self._engine.steps

    def prepare(self, request: Request) -> Prompt:
        return self._engine.prepare(request)

    def room(self, prompt: Prompt) -> int:
        return self._engine.room(prompt)

    def submit(
        self, work: Work, on_done: Callable[[Answer], None], timeout: float
    ) -> bool:
        return self._engine.submit(work, partial(self._note, on_done), timeout)

    def abort(self, keys: list[str]) -> None:
        self._engine.abort(keys)

    def close(self) -> None:
        self._owner.take_back(spoilt=self._spoilt)

    def _note(self, on_done: Callable[[Answer], None], answer: Answer) -> None:
        if not isinstance(answer, Completion | RequestRefusedError):
            self._spoilt = True
        on_done(answer)
