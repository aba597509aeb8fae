"""Tries a grammar in a process of its own before the engine meets it.

A schema or a regular expression of a few bytes can take a compiler hours, or all
the memory there is. So each is compiled once in a child that has some seconds and
some memory, and is killed when they are used up; what it took, the engine takes.
"""

import multiprocessing
import re
import resource
import signal
import threading
from collections.abc import Callable
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from jobs.errors import EngineError, RequestRefusedError

_START_SECONDS = 120.0
_SECONDS = 5.0
"""Of a processor that a grammar may take; those of real schemas take milliseconds."""

_WAIT = 60.0
"""Seconds that are waited for it on a machine that is busy with other things."""

_BYTES = 2 * 1024**3
_KNOWN = 4096
"""Grammars whose verdict is remembered: a batch mostly has one."""

_WHERE = re.compile(r"^\[[\d:]+\] \S+:\d+: ")

Grammar = tuple[str, str]
"""What it is (`json`, `regex`, `grammar` or `structural_tag`), and its text."""


class GrammarCheck:
    """Says which grammars the engine may be given; safe to use from threads."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        """`tokenizer` is the model's, as transformers has it."""
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._known: dict[bytes, str | None] = {}
        self._lock = threading.Lock()
        self._trying = threading.Lock()
        self._child: tuple[Any, Connection] | None = None

    def check(self, grammar: Grammar, param: str) -> None:
        """Refuse a grammar that can't be compiled, or not in time.

        `param` is the field that it came from. Raises `RequestRefusedError`.
        """
        digest = sha256("\0".join(grammar).encode()).digest()
        is_known, fault = self._verdict(digest)
        if not is_known:
            with self._trying:  # one at a time; what is known waits for none
                is_known, fault = self._verdict(digest)
                if not is_known:
                    fault = self._tried(grammar)
                    self._remember(digest, fault)
        if fault is not None:
            raise RequestRefusedError(fault, code="invalid_value", param=param)

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            process, connection = self._child
            process.kill()
            process.join()
            connection.close()
            self._child = None

    def _verdict(self, digest: bytes) -> tuple[bool, str | None]:
        """Return whether a grammar was tried, and what is wrong with it."""
        with self._lock:
            return digest in self._known, self._known.get(digest)

    def _remember(self, digest: bytes, fault: str | None) -> None:
        with self._lock:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[digest] = fault

    def _tried(self, grammar: Grammar) -> str | None:
        """Return what is wrong with the grammar, None where nothing is."""
        process, connection = self._child or self._start()
        if not process.is_alive():
            self.close()
            process, connection = self._start()
        try:
            connection.send(grammar)
            if connection.poll(_WAIT):
                fault: str | None = connection.recv()
                return fault
            too_much = "time"
        except (EOFError, OSError):
            process.join()
            too_much = "time" if process.exitcode == -signal.SIGPROF else "memory"
        self.close()
        return f"the grammar takes too much {too_much} to compile"

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
            kind, text = connection.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, _SECONDS)  # its signal ends the process
        try:
            fault = None if _has_begin(compile_as[kind](text)) else "nothing matches it"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the grammar's
            fault = _first_line(error)
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.send(fault)


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
