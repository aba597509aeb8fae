"""Tries a grammar in a process of its own before the engine meets it.

A schema or a regular expression of a few bytes can take a compiler hours, or all
the memory there is. So each is compiled once in a fork of a child, which has some
seconds and some memory and is killed when they are used up; what it took, the engine
takes. A batch whose grammars are stopped so gets less time with each: a file of
thousands costs minutes.
"""

import math
import multiprocessing
import os
import re
import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from batchchat.jobs.errors import EngineError, RequestRefusedError
from batchchat.workers.engine.process_guard import kill_with_parent

_START_SECONDS = 120.0
_SECONDS = 10.0
"""Of a processor that a grammar may take. Most schemas take milliseconds; twenty texts
of a `maxLength` of 200 take nine seconds with a vocabulary of 128,000."""

_LEAST_SECONDS = 0.25
"""What a grammar may take at least, however many of its batch were stopped."""

_WAIT = 60.0
"""Seconds that are waited for it on a machine that is busy with other things."""

_BYTES = 2 * 1024**3
_KNOWN = 4096
"""Grammars whose verdict is remembered, and batches whose grammars were stopped."""

_WHERE = re.compile(r"^\[[\d:]+\] \S+:\d+: ")

Grammar = tuple[str, str]
"""What it is (`json`, `regex`, `grammar` or `structural_tag`), and its text."""


class Verdict(NamedTuple):
    """What is wrong with a grammar, None where nothing is.

    `stopped` says after how many seconds it was given up; one that may take more is
    tried again.
    """

    fault: str | None
    stopped: float = math.inf


class GrammarSandbox:
    """Says which grammars the engine may be given; safe to use from threads."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        """`tokenizer` is the model's, as transformers has it."""
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._known: dict[bytes, Verdict] = {}
        self._stopped = Counter[str]()
        self._lock = threading.Lock()
        self._trying = threading.Lock()
        self._child: tuple[Any, Connection] | None = None

    def check(self, grammar: Grammar, param: str, batch_id: str) -> None:
        """Refuse a grammar that can't be compiled, or not in time.

        `param` is the field that it came from. Each of a batch that is stopped halves
        the time of its next. Raises `RequestRefusedError`.
        """
        digest = sha256("\0".join(grammar).encode()).digest()
        verdict = self._verdict(digest, batch_id)
        if verdict is None:
            with self._trying:  # one at a time; what is known waits for none
                verdict = self._verdict(digest, batch_id)
                if verdict is None:
                    verdict = self._tried(grammar, self._seconds(batch_id))
                    self._remember(digest, verdict, batch_id)
        if verdict.fault is not None:
            raise RequestRefusedError(verdict.fault, code="invalid_value", param=param)

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            process, connection = self._child
            process.kill()
            process.join()
            connection.close()
            self._child = None

    def _seconds(self, batch_id: str) -> float:
        """Return what the next grammar of a batch may take."""
        times = min(self._stopped[batch_id], 64)
        return max(_LEAST_SECONDS, _SECONDS * 0.5**times)

    def _verdict(self, digest: bytes, batch_id: str) -> Verdict | None:
        """Return what is known of a grammar, if it had all the time that it may have.

        Another batch's bombs shorten nobody's time.
        """
        with self._lock:
            known = self._known.get(digest)
            return known if known and known.stopped >= self._seconds(batch_id) else None

    def _remember(self, digest: bytes, verdict: Verdict, batch_id: str) -> None:
        with self._lock:
            for memory in (self._known, self._stopped):
                if len(memory) >= _KNOWN:
                    memory.clear()
            self._known[digest] = verdict
            if verdict.stopped < math.inf:
                self._stopped[batch_id] += 1

    def _tried(self, grammar: Grammar, seconds: float) -> Verdict:
        """Return what is wrong with the grammar, None where nothing is."""
        process, connection = self._child or self._start()
        if not process.is_alive():
            self.close()
            process, connection = self._start()
        try:
            connection.send((*grammar, seconds))
            if connection.poll(_WAIT):
                verdict: Verdict = connection.recv()
                return verdict
        except (EOFError, OSError):  # the child itself was killed, as by the system
            self.close()
            return _too_much("memory", seconds)
        self.close()
        return _too_much("time", seconds)

    def _start(self) -> tuple[Any, Connection]:
        from xgrammar import TokenizerInfo

        info = TokenizerInfo.from_huggingface(
            self._tokenizer, vocab_size=self._vocabulary
        )
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(theirs, info.serialize_json()), daemon=True
        )
        process.start()
        theirs.close()
        self._child = process, ours
        try:
            is_ready = ours.poll(_START_SECONDS) and ours.recv() is None
        except (EOFError, OSError):  # it died, of too little memory for instance
            is_ready = False
        if not is_ready:
            self.close()
            raise EngineError("the process that tries grammars did not start")
        return self._child


def serve(connection: Connection, tokenizer: str) -> None:
    """Compile what comes, and say what is wrong with it; the child's main."""
    import xgrammar

    # The parent decides when it is over; when it is gone, so is the connection.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    info = xgrammar.TokenizerInfo.deserialize_json(tokenizer)
    compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
    compile_as: dict[str, Callable[[str], Any]] = {
        "json": compiler.compile_json_schema,
        "regex": compiler.compile_regex,
        "grammar": compiler.compile_grammar,
        "structural_tag": compiler.compile_structural_tag,
    }
    pages = Path("/proc/self/statm").read_text("utf-8").split()[0]
    used = int(pages) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _BYTES, used + _BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send(None)
    while True:
        try:
            kind, text, seconds = connection.recv()
        except EOFError:
            return
        connection.send(_forked(partial(_fault, compile_as[kind], text), seconds))


def _forked(find_fault: Callable[[], str], seconds: float) -> Verdict:
    """Look for a fault in a process that is killed when the time is over."""
    parent = os.getpid()
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            kill_with_parent(parent)
            signal.setitimer(signal.ITIMER_PROF, seconds)  # its signal ends the process
            os.write(writing, find_fault().encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        fault = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        return _too_much("time" if status == -signal.SIGPROF else "memory", seconds)
    return Verdict(fault or None)


def _fault(compile_it: Callable[[str], Any], text: str) -> str:
    """Return what is wrong with a grammar, nothing where nothing is."""
    try:
        return "" if _has_begin(compile_it(text)) else "nothing matches it"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the grammar's
        return _first_line(error)


def _too_much(what: str, seconds: float) -> Verdict:
    fault = f"the grammar takes too much {what} to compile: stopped after {seconds:g} s"
    return Verdict(fault, seconds)


def _has_begin(grammar: Any) -> bool:
    """Say whether any token can come first: a schema of itself alone has none."""
    from xgrammar import GrammarMatcher, allocate_token_bitmask

    mask = allocate_token_bitmask(1, grammar.tokenizer_info.vocab_size)
    GrammarMatcher(grammar).fill_next_token_bitmask(mask)
    return bool(mask.any())


def _first_line(error: Exception) -> str:
    """Return what the compiler says, without when and in which file it says it."""
    text = _WHERE.sub("", str(error).strip()).partition("\n")[0][:200]
    return f"it can't be compiled: {text or type(error).__name__}"
