"""Compiles grammars in a child process with limited time and memory.

A schema or a regular expression of a few bytes can occupy a compiler for hours or use
up all memory. The child compiles each grammar in a fork of itself, which the kernel
kills at its limit. The child survives that, which matters because its start takes
seconds. See `docs/decisions/0023-grammar-sandbox.md`.
"""

import math
import multiprocessing
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from batchchat.jobs.errors import EngineError
from batchchat.workers.engine.grammar_compilers import (
    Check,
    GuidanceCompiler,
    guidance_arguments,
    xgrammar_checks,
)
from batchchat.workers.process_lifetime import kill_with_parent

_START_TIMEOUT_SECONDS = 120.0
_REPLY_TIMEOUT_SECONDS = 60.0
"""Limit on the elapsed time, which exceeds the CPU time on a busy machine."""

_EXIT_TIMEOUT_SECONDS = 1.0
_MAX_MEMORY_BYTES = 2 * 1024**3
"""Memory that a grammar may use in addition to the compiler's own."""

_MAX_ERROR_CHARACTERS = 200
_LOG_PREFIX = re.compile(r"^\[[\d:]+\] \S+:\d+: ")
"""Time and source position that precede the message of xgrammar's errors."""

Grammar = tuple[str, str]
"""A kind and a text of that kind.

xgrammar compiles the kinds `json`, `regex`, `grammar` and `structural_tag`. The text of
the kind `guidance` is a grammar as guidance serializes it."""


class Verdict(NamedTuple):
    """The outcome of compiling a grammar; `error` is None if it can be used.

    `stopped_after` is the CPU time in seconds after which compiling was stopped,
    infinite if it ended by itself.
    """

    error: str | None
    stopped_after: float = math.inf


class GrammarProcess:
    """The child process; it starts with the first grammar and compiles one at a time.

    Only one thread at a time may call `compile`; any thread may call `close`.
    """

    def __init__(self, tokenizer: Any, vocabulary_size: int) -> None:
        """`tokenizer` is the model's transformers tokenizer."""
        self._tokenizer = tokenizer
        self._vocabulary_size = vocabulary_size
        self._guidance = guidance_arguments(tokenizer, vocabulary_size)
        self._child: tuple[Any, Connection] | None = None
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id, None if it does not run."""
        return self._child[0].pid if self._child else None

    def compile(self, grammar: Grammar, seconds: float) -> Verdict:
        """Compile a grammar within `seconds` of CPU time.

        Raises `EngineError` if the child cannot be started or is terminated.
        """
        process, connection = self._running_child()
        try:
            connection.send((*grammar, seconds))
            if connection.poll(_REPLY_TIMEOUT_SECONDS):
                verdict: Verdict = connection.recv()
                return verdict
        except (EOFError, OSError):  # the child itself has died
            process.join(_EXIT_TIMEOUT_SECONDS)
            self._kill()
            if self._is_closed or process.exitcode != -signal.SIGKILL:
                raise EngineError("the grammar compiler was terminated") from None
            return _limit_exceeded("memory", seconds)  # by the kernel's OOM killer
        self._kill()
        return _limit_exceeded("time", seconds)

    def close(self) -> None:
        """Kill the child; a call of `compile` in progress raises `EngineError`."""
        self._is_closed = True
        self._kill()

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            process, _ = child
            process.kill()
            process.join()

    def _running_child(self) -> tuple[Any, Connection]:
        if self._child is not None and not self._child[0].is_alive():
            self._kill()
        return self._child or self._start()

    def _start(self) -> tuple[Any, Connection]:
        from xgrammar import TokenizerInfo

        info = TokenizerInfo.from_huggingface(
            self._tokenizer, vocab_size=self._vocabulary_size
        )
        context = multiprocessing.get_context("spawn")
        connection, child_connection = context.Pipe()
        process = context.Process(
            target=serve,
            args=(child_connection, info.serialize_json(), self._guidance),
            daemon=True,
        )
        process.start()
        child_connection.close()
        self._child = process, connection
        try:
            is_ready = connection.poll(_START_TIMEOUT_SECONDS) and connection.recv()
        except (EOFError, OSError):  # for example, there was too little memory
            is_ready = False
        if self._is_closed or not is_ready:
            self._kill()
            raise EngineError(
                "the grammar compiler did not start",
                hint="check that the machine has some gigabytes of free memory",
            )
        return process, connection


def serve(
    connection: Connection, tokenizer_info: str, guidance: dict[str, Any] | None
) -> None:
    """Compile the grammars received and reply with verdicts; runs in the child.

    `guidance` holds the arguments of its tokenizer, None if it does not support the
    model's. Returns when the parent has closed the connection or has exited.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is handled by the parent
    compiler = GuidanceCompiler(guidance)
    checks = xgrammar_checks(tokenizer_info) | {"guidance": compiler.check}
    pages = Path("/proc/self/statm").read_text("utf-8").split()[0]
    limit = int(pages) * resource.getpagesize() + _MAX_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    is_ready = True
    connection.send(is_ready)
    while True:
        try:
            kind, text, seconds = connection.recv()
        except EOFError:
            return
        if kind == "guidance":
            with suppress(Exception):  # the check will raise it again
                compiler.load()  # not in each fork
        find_error = partial(_find_error, checks[kind], text)
        connection.send(_run_in_fork(find_error, seconds))


def _run_in_fork(find_error: Callable[[], str], seconds: float) -> Verdict:
    """Call `find_error` in a fork that is killed after `seconds` of CPU time."""
    parent = os.getpid()
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            kill_with_parent(parent)
            signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends the process
            os.write(writing, find_error().encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        error = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == -signal.SIGTERM:
        sys.exit()  # the whole process group is being terminated
    if status:
        resource_name = "time" if status == -signal.SIGPROF else "memory"
        return _limit_exceeded(resource_name, seconds)
    return Verdict(error or None)


def _find_error(check: Check, text: str) -> str:
    """Return why the grammar cannot be used; empty if it can."""
    try:
        check(text)
    except Exception as error:  # noqa: BLE001 - any error here is the grammar's
        return _describe(error)
    return ""


def _limit_exceeded(resource_name: str, seconds: float) -> Verdict:
    return Verdict(
        f"compiling the grammar takes too much {resource_name}: "
        f"stopped after {seconds:g} s",
        seconds,
    )


def _describe(error: Exception) -> str:
    """Return the compiler's message without the time and source position."""
    message = _LOG_PREFIX.sub("", str(error).strip()).partition("\n")[0]
    reason = message[:_MAX_ERROR_CHARACTERS] or type(error).__name__
    return f"the grammar cannot be compiled: {reason}"
