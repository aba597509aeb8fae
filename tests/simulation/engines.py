"""Simulated engines; prompts and random faults can kill them."""

from collections.abc import Callable
from typing import Any

from batchchat.jobs.engine.protocol import (
    CompletionOrError,
    EngineActivity,
    EngineRequest,
)
from batchchat.jobs.errors import EngineDeadError
from batchchat.jobs.prompts.renderer import Prompt, PromptRenderer
from batchchat.jobs.requests.schema import Request
from batchchat.workers.engine.echo_core import echo
from tests.simulation.fault_profile import FaultProfile
from tests.simulation.threads import Event
from tests.simulation.virtual_time import VirtualWorld

DEADLY = "deadly"
"""Word in a prompt that kills every engine."""

_STEP = 0.4


class SimulatedEngine:
    """Computes steps for all its requests at random intervals."""

    fingerprint = "fp_simulated"

    def __init__(
        self,
        world: VirtualWorld,
        faults: FaultProfile,
        renderer: PromptRenderer,
        *,
        kills_process: bool,
        on_death: Callable[[], object],
    ) -> None:
        """With `kills_process`, its death also kills the worker process."""
        self.capacity = world.rng.choice([2, 4, 16])
        self.identity: dict[str, Any] = {"engine": "simulated"}
        self.steps = 0
        self._generated_tokens = 0
        self._world = world
        self._faults = faults
        self._renderer = renderer
        self._kills_process = kills_process
        self._on_death = on_death
        self._running: dict[
            str, tuple[EngineRequest, Callable[[CompletionOrError], None], int]
        ] = {}
        self._changed = Event(world)
        self._aborted: list[str] = []
        self._dead: EngineDeadError | None = None
        self._stepped = 0.0
        self._pace = _STEP * faults.slowness
        world.spawn(world.current.process, self._live)

    @property
    def is_alive(self) -> bool:
        """See `workers.engine.driver.EngineDriver`."""
        return self._dead is None

    def abandon(self, reason: str) -> None:
        """See `workers.engine.driver.EngineDriver`."""
        self._dead = self._dead or EngineDeadError(reason)
        for _, on_done, _ in self._running.values():
            on_done(self._dead)
        self._running.clear()

    def activity(self) -> EngineActivity:
        """See `jobs.engine.protocol.Engine`."""
        return EngineActivity(
            steps=self.steps,
            generated_tokens=self._generated_tokens,
            running=len(self._running),
        )

    def prepare(self, request: Request, batch_id: str = "") -> Prompt:
        """See `jobs.engine.protocol.Engine`."""
        del batch_id
        return self._renderer.prepare(request)

    def remaining_context(self, prompt: Prompt) -> int:
        """See `jobs.engine.protocol.Engine`."""
        return (self._renderer.context_length or 0) - len(prompt.token_ids)

    def submit(
        self,
        work: EngineRequest,
        on_done: Callable[[CompletionOrError], None],
        timeout: float,
    ) -> bool:
        """See `jobs.engine.protocol.Engine`."""
        until = self._world.now + timeout
        while len(self._running) >= self.capacity and self._dead is None:
            self._world.sleep(0.05)
            if self._world.now >= until:
                return False
        if self._dead is not None:
            raise self._dead
        steps = self._world.rng.randint(1, 5)
        self._running[work.key] = (work, on_done, self.steps + steps)
        self._changed.set()
        return True

    def abort(self, keys: list[str]) -> None:
        """See `jobs.engine.protocol.Engine`; takes effect with the next step."""
        self._aborted += keys

    def seconds_since_last_step(self) -> float | None:
        """See `workers.engine.driver.EngineDriver`."""
        return self._world.now - self._stepped if self._running else None

    def close(self) -> None:
        """See `workers.engine.driver.EngineDriver`."""
        self._dead = self._dead or EngineDeadError("closed")
        self._changed.set()

    def _live(self) -> None:
        while self._dead is None:
            if not self._running:
                self._stepped = self._world.now
                self._changed.wait(None)
                self._changed.clear()
                continue
            self._world.sleep(self._pace * self._world.rng.random())
            self._step()

    def _step(self) -> None:
        if self._dead is not None:
            return
        for key in self._aborted:
            self._running.pop(key, None)
        self._aborted = []
        deadly = any(
            DEADLY in work.prompt.text for work, _, _ in self._running.values()
        )
        if (deadly and self._world.chance(0.5)) or (
            self._running and self._world.chance(self._faults.engine_dies)
        ):
            self._die()
            return
        self.steps += 1
        self._stepped = self._world.now
        for key, (work, on_done, due) in list(self._running.items()):
            if due <= self.steps and DEADLY not in work.prompt.text:
                del self._running[key]
                answer = echo(work)
                answer.cached_tokens = self._world.rng.randint(0, 3)
                self._generated_tokens += answer.completion_tokens
                on_done(answer)

    def _die(self) -> None:
        self._on_death()
        self._dead = EngineDeadError("the engine died")
        if self._kills_process:
            self._world.kill(self._world.current.process)
        running, self._running = self._running, {}
        for _, on_done, _ in running.values():
            on_done(self._dead)
