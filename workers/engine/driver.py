"""Drives an engine's core: one thread owns it, everybody else uses queues.

The thread does three things in turn: takes new work, steps, hands out what has
finished. So the engine never waits for a prompt to be rendered or for a result
to be stored, and whoever submits waits only for room.
"""

import hashlib
import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from batchchat.jobs.engine.protocol import Answer, Completion, Work
from batchchat.jobs.errors import (
    BatchchatError,
    ConfigError,
    EngineDeadError,
    EngineStartError,
    RequestRefusedError,
)
from batchchat.jobs.prompts.renderer import Prompt, Prompter
from batchchat.jobs.requests.output_constraints import Form, form_of
from batchchat.jobs.requests.schema import Request

_LOOK = 0.5
"""Seconds between two looks at something that may have died."""

_CLOSE = 10.0
_VANISHED = 5.0
"""Seconds after which a process that vanished while it started is given up."""

OnDone = Callable[[Answer], None]


class Core(Protocol):
    """What computes. Only the driver's thread calls it, but for the last three."""

    capacity: int
    identity: dict[str, Any]

    def add(self, work: Work) -> None:
        """Begin with `work`. Raises `RequestRefusedError`."""
        ...

    def step(self) -> Iterable[tuple[str, Answer]]:
        """Compute a little; return the keys that are done, with their answers."""
        ...

    def abort(self, keys: list[str]) -> None:
        """Forget work."""
        ...

    def close(self) -> None:
        """End every process of it."""
        ...

    def is_alive(self) -> bool:
        """Say whether it can go on; from any thread."""
        ...

    def interrupt_step(self) -> None:
        """Make a `step` that waits for a dead process raise; from any thread."""
        ...

    def check_constraints(self, form: Form, batch_id: str) -> None:
        """See that answers can have this form; from any thread, may take seconds.

        They are fewer for a batch that has taken many. Raises `RequestRefusedError`.
        """
        ...


@dataclass(slots=True)
class _Running:
    """Work that the core has; `since` is what the busy clock showed."""

    on_done: OnDone
    since: float


class EngineDriver:
    """An engine around a core that is built, used and closed by one thread."""

    def __init__(self, build: Callable[[], Core], prompter: Prompter) -> None:
        """`build` makes the core; it is called once, by the thread."""
        self.steps = 0
        self._build = build
        self._prompter = prompter
        self._inbox: SimpleQueue[tuple[Work, OnDone] | list[str] | None] = SimpleQueue()
        self._running: dict[str, _Running] = {}
        self._busy = 0.0
        self._stepped = time.monotonic()
        self._dead: EngineDeadError | None = None
        self._ready = threading.Event()
        self._closing = threading.Event()
        self._start_error: BaseException | None = None
        self._thread = threading.Thread(target=self._own, name="engine", daemon=True)

    def start(self) -> None:
        """Build the core; returns when it can take work.

        Raises:
            EngineStartError: it did not come up; the message says why.

        """
        self._thread.start()
        self._wait_until_ready()
        if self._start_error is not None:
            raise _start_error(self._start_error) from self._start_error
        self.capacity = self._core.capacity
        self.identity = self._core.identity
        self.fingerprint = _fingerprint(self.identity)
        self._slots = threading.Semaphore(self.capacity)
        threading.Thread(target=self._watch, name="engine-watch", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether it can take more work."""
        return self._dead is None and self._core.is_alive()

    def prepare(self, request: Request, batch_id: str = "") -> Prompt:
        """Render and tokenize one request; see `jobs.engine.Engine`."""
        prompt = self._prompter.prepare(request)
        form = form_of(request)
        if form is not None:
            self._core.check_constraints(form, batch_id)
        return prompt

    def room(self, prompt: Prompt) -> int:
        """Return how many tokens the context has left behind the prompt."""
        if self._prompter.context_length is None:
            raise ConfigError("the model's context length is not known")
        return self._prompter.context_length - len(prompt.token_ids)

    def submit(self, work: Work, on_done: OnDone, timeout: float) -> bool:
        """Take the work; see `jobs.engine.Engine`."""
        got = self._slots.acquire(timeout=timeout)
        dead = self._dead
        if dead is not None:
            raise dead
        if got:
            self._inbox.put((work, on_done))
            if self._dead is not None:  # it died between the two lines
                self._refuse_all(self._dead)
        return got

    def abort(self, keys: list[str]) -> None:
        """Drop work; see `jobs.engine.Engine`."""
        if keys:
            self._inbox.put(keys)

    def seconds_since_last_step(self) -> float | None:
        """Return how long ago the last step ended, None where there is no work."""
        return time.monotonic() - self._stepped if self._running else None

    def abandon(self, reason: str) -> None:
        """Answer all that runs with an error, from outside: a step does not return."""
        self._dead = self._dead or EngineDeadError(reason)
        self._refuse_all(self._dead)

    def close(self) -> bool:
        """End the engine and every process of it; say whether that went.

        A step that hangs in this process never returns, and its thread stays.
        """
        self._closing.set()
        self._inbox.put(None)
        self._thread.join(_CLOSE)
        for child in multiprocessing.active_children():
            child.kill()
            child.join(_CLOSE)
        self._thread.join(_LOOK)
        return not self._thread.is_alive()

    def _wait_until_ready(self) -> None:
        """Wait for the core, or for the death of a process that it needs."""
        seen = False
        gone_since = time.monotonic()
        while not self._ready.wait(_LOOK):
            here = bool(multiprocessing.active_children())
            seen = seen or here
            if here or not seen:
                gone_since = time.monotonic()
            elif time.monotonic() - gone_since > _VANISHED:
                raise EngineStartError("the engine's process died while it started")

    def _own(self) -> None:
        """Build the core, drive it to its end, and take it down."""
        try:
            self._core = self._build()
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            self._start_error = error
            return
        finally:
            self._ready.set()
        try:
            while not self._closing.is_set():
                self._turn()
        except BaseException as error:  # noqa: BLE001 - a panic in Rust is no Exception
            self._die(error)
        finally:
            self._core.close()

    def _turn(self) -> None:
        """Take what is new, compute one step, hand out what has finished."""
        self._take_all()
        if not self._running:
            self._stepped = time.monotonic()
            return
        before = time.monotonic()
        answers = self._core.step()
        self._stepped = time.monotonic()
        self._busy += (self._stepped - before) / len(self._running)
        self.steps += 1
        for key, answer in answers:
            self._finish(key, answer)

    def _take_all(self) -> None:
        """Empty the inbox; with nothing running wait for something to come."""
        try:
            message = self._inbox.get(block=not self._running, timeout=_LOOK)
            while True:
                if isinstance(message, list):
                    self._drop(message)
                elif message is not None:
                    self._add(*message)
                message = self._inbox.get_nowait()
        except Empty:
            return

    def _add(self, work: Work, on_done: OnDone) -> None:
        self._running[work.key] = _Running(on_done, self._busy)
        try:
            self._core.add(work)
        except RequestRefusedError as error:
            self._finish(work.key, error)

    def _finish(self, key: str, answer: Answer) -> None:
        """Hand out an answer with its share of the engine's time.

        The busy clock advances by a step's seconds divided by the requests that
        shared it, so the shares of all requests add up to the busy seconds.
        """
        running = self._running.pop(key, None)
        if running is None:
            return
        self._slots.release()
        if isinstance(answer, Completion):
            answer.engine_seconds = self._busy - running.since
        running.on_done(answer)

    def _drop(self, keys: list[str]) -> None:
        mine = [key for key in keys if self._running.pop(key, None)]
        self._core.abort(mine)
        self._slots.release(len(mine)) if mine else None

    def _die(self, error: BaseException) -> None:
        """Tell everybody that there will be no answers; wait to be closed."""
        dead = EngineDeadError(f"the engine died: {_first_line(error)}")
        dead.__cause__ = error
        self._dead = dead
        self._refuse_all(dead)
        self._closing.wait()

    def _refuse_all(self, dead: EngineDeadError) -> None:
        """Answer what runs, and what the engine's thread has not taken yet."""
        for key in list(self._running):
            self._finish(key, dead)
        with suppress(Empty):
            while True:
                message = self._inbox.get_nowait()
                if isinstance(message, tuple):
                    _, on_done = message
                    on_done(dead)

    def _watch(self) -> None:
        """Notice a core that died without a word, which leaves `step` waiting."""
        while self._dead is None and not self._closing.wait(_LOOK):
            if not self._core.is_alive():
                self._core.interrupt_step()
                return


def _start_error(error: BaseException) -> BatchchatError:
    if isinstance(error, BatchchatError):
        return error
    return EngineStartError(
        f"the engine did not start: {_first_line(error)}",
        hint="set BATCHCHAT_ENGINE_LOG=info to see what vLLM says",
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return text or type(error).__name__


def _fingerprint(identity: dict[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True, default=str)
    return f"fp_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
