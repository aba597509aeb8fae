"""Runs an engine core on its own thread; callers communicate with it through queues.

The thread repeats three actions: accept new work, compute one step, deliver finished
answers. The engine therefore never waits for a prompt to be rendered or a result to be
stored, and a caller that submits work waits only for a free slot.
"""

import hashlib
import json
import multiprocessing
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from typing_extensions import override

from batchchat.jobs.engine.protocol import (
    Completion,
    CompletionOrError,
    Engine,
    EngineActivity,
    EngineRequest,
)
from batchchat.jobs.errors import (
    BatchchatError,
    ConfigError,
    EngineDeadError,
    EngineStartError,
    RequestRefusedError,
)
from batchchat.jobs.prompts.renderer import Prompt, PromptRenderer
from batchchat.jobs.requests.output_constraints import OutputConstraints, constraints_of
from batchchat.jobs.requests.schema import Request
from batchchat.workers.engine.core import Core
from batchchat.workers.engine.log_file import EngineLog, log_hint

_POLL_SECONDS = 0.5
"""Interval between checks for a dead process."""

_CLOSE_TIMEOUT_SECONDS = 10.0
_LOST_PROCESS_SECONDS = 5.0
"""How long startup continues after the engine's child process has disappeared."""

_MAX_REASON_CHARACTERS = 300

OnDone = Callable[[CompletionOrError], None]


@dataclass(slots=True)
class _RunningRequest:
    """A request that the core holds; `accepted_at` is a reading of the busy clock."""

    on_done: OnDone
    accepted_at: float


class EngineDriver(Engine):
    """An engine whose core is built, used and closed by one thread."""

    def __init__(
        self, build_core: Callable[[], Core], renderer: PromptRenderer
    ) -> None:
        """`build_core` is called once, on the engine's thread."""
        self._build_core = build_core
        self._renderer = renderer
        self._inbox: SimpleQueue[tuple[EngineRequest, OnDone] | list[str] | None] = (
            SimpleQueue()
        )
        self._running: dict[str, _RunningRequest] = {}
        self._steps = 0
        self._finished_tokens = 0
        self._busy_clock = 0.0
        self._last_step_at = time.monotonic()
        self._death: EngineDeadError | None = None
        self._ready = threading.Event()
        self._closing = threading.Event()
        self._startup_error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Build the core and return once it accepts work.

        Raises:
            EngineStartError: the core could not be built; the message gives the reason.

        """
        self._thread.start()
        self._wait_until_ready()
        if self._startup_error is not None:
            raise _as_start_error(self._startup_error) from self._startup_error
        self.capacity = self._core.capacity
        self.identity = self._core.identity
        self.fingerprint = _fingerprint(self.identity)
        self._slots = threading.Semaphore(self.capacity)
        threading.Thread(
            target=self._watch_core, name="engine-watch", daemon=True
        ).start()

    @property
    @override
    def steps(self) -> int:
        return self._steps

    @override
    def activity(self) -> EngineActivity:
        held = len(self._running)
        running = min(held, self._core.running)
        generated = self._core.generated_tokens
        return EngineActivity(
            steps=self._steps,
            generated_tokens=generated,
            unfinished_tokens=max(0, generated - self._finished_tokens) if held else 0,
            running=running,
            waiting=held - running,
            idle_seconds=self.seconds_since_last_step(),
        )

    @property
    def is_alive(self) -> bool:
        """Whether the engine can accept more work."""
        return self._death is None and self._core.is_alive()

    @override
    def prepare(self, request: Request, batch_id: str = "") -> Prompt:
        prompt = self._renderer.prepare(request)
        constraints = constraints_of(request)
        if constraints is not None:
            self._check_constraints(constraints, batch_id)
        return prompt

    @override
    def remaining_context(self, prompt: Prompt) -> int:
        if self._renderer.context_length is None:
            raise ConfigError(
                "the model's context length is unknown",
                hint="set `context_length` of the model in the catalog",
            )
        return self._renderer.context_length - len(prompt.token_ids)

    @override
    def submit(self, work: EngineRequest, on_done: OnDone, timeout: float) -> bool:
        has_slot = self._slots.acquire(timeout=timeout)
        death = self._death
        if death is not None:
            raise death
        if has_slot:
            self._inbox.put((work, on_done))
            if self._death is not None:  # the engine died after the check above
                self._fail_all(self._death)
        return has_slot

    @override
    def abort(self, keys: list[str]) -> None:
        if keys:
            self._inbox.put(keys)

    def seconds_since_last_step(self) -> float | None:
        """Return the age of the last finished step, None while no request runs."""
        return time.monotonic() - self._last_step_at if self._running else None

    def abandon(self, reason: str) -> None:
        """Fail all requests from another thread because a step does not return."""
        self._death = self._death or EngineDeadError(reason, hint=log_hint())
        self._fail_all(self._death)

    def close(self) -> bool:
        """End the engine and all its processes; return whether its thread ended.

        The thread does not end while a step hangs inside this process.
        """
        self._closing.set()
        self._inbox.put(None)
        self._thread.join(_CLOSE_TIMEOUT_SECONDS)
        for child in multiprocessing.active_children():
            child.kill()
            child.join(_CLOSE_TIMEOUT_SECONDS)
        self._thread.join(_POLL_SECONDS)
        return not self._thread.is_alive()

    def _check_constraints(self, constraints: OutputConstraints, batch_id: str) -> None:
        try:
            self._core.check_constraints(constraints, batch_id)
        except RequestRefusedError as error:
            # `close` kills the processes that the check relies on.
            if self._closing.is_set():
                raise EngineDeadError("the engine was closed") from error
            raise

    def _wait_until_ready(self) -> None:
        """Wait until the core is built, or its child process has disappeared."""
        had_child = False
        last_seen = time.monotonic()
        while not self._ready.wait(_POLL_SECONDS):
            has_child = bool(multiprocessing.active_children())
            had_child = had_child or has_child
            if has_child or not had_child:
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > _LOST_PROCESS_SECONDS:
                raise EngineStartError(
                    _with_cause("the engine process exited during startup"),
                    hint=log_hint(),
                )

    def _run(self) -> None:
        """Build the core, drive it until it fails or is closed, and close it."""
        try:
            self._core = self._build_core()
        except BaseException as error:  # noqa: BLE001 - `start` raises it
            self._startup_error = error
            return
        finally:
            self._ready.set()
        try:
            while not self._closing.is_set():
                self._run_step()
        except BaseException as error:  # noqa: BLE001 - a Rust panic is no Exception
            self._die(error)
        finally:
            self._core.close()

    def _run_step(self) -> None:
        """Accept new work, compute one step and deliver the finished answers."""
        self._drain_inbox()
        sharing = len(self._running)  # `abandon` may empty it during the step
        if not sharing:
            self._last_step_at = time.monotonic()
            return
        began = time.monotonic()
        answers = self._core.step()
        self._last_step_at = time.monotonic()
        self._busy_clock += (self._last_step_at - began) / sharing
        self._steps += 1
        for key, answer in answers:
            self._finish(key, answer)

    def _drain_inbox(self) -> None:
        """Process all queued messages; wait for one while no request runs."""
        try:
            message = self._inbox.get(block=not self._running, timeout=_POLL_SECONDS)
            while True:
                if isinstance(message, list):
                    self._abort_running(message)
                elif message is not None:
                    self._add(*message)
                message = self._inbox.get_nowait()
        except Empty:
            return

    def _add(self, work: EngineRequest, on_done: OnDone) -> None:
        self._running[work.key] = _RunningRequest(on_done, self._busy_clock)
        try:
            self._core.add(work)
        except RequestRefusedError as error:
            self._finish(work.key, error)

    def _finish(self, key: str, answer: CompletionOrError) -> None:
        """Deliver an answer together with its share of the engine's time.

        The busy clock advances by a step's duration divided by the number of requests
        that shared the step, so the shares of all requests sum to the busy time.
        """
        running = self._running.pop(key, None)
        if running is None:
            return
        self._slots.release()
        if isinstance(answer, Completion):
            answer.engine_seconds = self._busy_clock - running.accepted_at
            self._finished_tokens += answer.completion_tokens
        running.on_done(answer)

    def _abort_running(self, keys: list[str]) -> None:
        aborted = [key for key in keys if self._running.pop(key, None)]
        self._core.abort(aborted)
        if aborted:
            self._slots.release(len(aborted))

    def _die(self, error: BaseException) -> None:
        """Fail all requests, then wait for `close`."""
        if EngineLog.current:  # on a worker, the reason in its log must do
            traceback.print_exception(error)
        reason = self._core.death_reason() or _describe(error)
        death = EngineDeadError(f"the engine died: {reason}", hint=log_hint())
        death.reason = reason
        death.__cause__ = error
        self._death = death
        self._fail_all(death)
        self._closing.wait()

    def _fail_all(self, death: EngineDeadError) -> None:
        """Answer the running and the queued requests with an error."""
        for key in list(self._running):
            self._finish(key, death)
        with suppress(Empty):
            while True:
                message = self._inbox.get_nowait()
                if isinstance(message, tuple):
                    _, on_done = message
                    on_done(death)

    def _watch_core(self) -> None:
        """Interrupt a step that waits for a core that died without an error."""
        while self._death is None and not self._closing.wait(_POLL_SECONDS):
            if not self._core.is_alive():
                self._core.interrupt_step()
                return


def _as_start_error(error: BaseException) -> BatchchatError:
    if isinstance(error, BatchchatError):
        return error
    reason = _describe(error)
    if "Engine core" in reason:  # vLLM's words for an error in its child process
        reason = _with_cause(reason)
    return EngineStartError(f"the engine did not start: {reason}", hint=log_hint())


def _describe(error: BaseException) -> str:
    """Return an error's type and the first line of its message."""
    text = str(error).strip().partition("\n")[0][:_MAX_REASON_CHARACTERS]
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _with_cause(text: str) -> str:
    """Add the last error in the engine's log, if there is one."""
    cause = EngineLog.current and EngineLog.current.last_error()
    return f"{text}: {cause[:_MAX_REASON_CHARACTERS]}" if cause else text


def _fingerprint(identity: dict[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True, default=str)
    return f"fp_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
