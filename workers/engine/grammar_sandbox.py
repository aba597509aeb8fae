"""Refuses grammars that the engine must not compile itself.

Each grammar is first compiled in a child process with limited time and memory; the
engine receives only grammars that passed. Each grammar of a batch that exceeds its
limit halves the time for the batch's next ones, so that a file of thousands of such
grammars costs minutes instead of hours.
"""

import math
import threading
from hashlib import sha256
from typing import Protocol

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.lru_cache import LruCache
from batchchat.workers.engine.grammar_process import Grammar, Verdict

_MAX_SECONDS = 10.0
"""CPU time for a grammar. Most schemas need milliseconds; twenty strings with a
`maxLength` of 200 need nine seconds with a vocabulary of 128,000 tokens."""

_MIN_SECONDS = 0.25
"""CPU time for a grammar of a batch of which many grammars were stopped."""

_MAX_ENTRIES = 4096
"""Number of grammars and of batches that are remembered."""


class _Compiler(Protocol):
    def compile(self, grammar: Grammar, seconds: float) -> Verdict:
        """Compile a grammar within `seconds` of CPU time."""
        ...

    def close(self) -> None:
        """End the compiler."""
        ...


class GrammarSandbox:
    """Checks grammars and remembers the verdicts; safe to use from threads."""

    def __init__(self, compiler: _Compiler) -> None:
        """`compiler` compiles the grammars in a process of its own."""
        self._compiler = compiler
        self._verdicts = LruCache[str, Verdict](_MAX_ENTRIES)
        self._stopped_by_batch = LruCache[str, int](_MAX_ENTRIES)
        self._compiling = threading.Lock()

    def check(self, grammar: Grammar, param: str, batch_id: str) -> None:
        """Refuse a grammar that cannot be compiled, or not within its limits.

        `param` is the field of the request that contains the grammar.
        Raises `RequestRefusedError`, and `EngineError` if nothing was found out.
        """
        key = sha256("\0".join(grammar).encode()).hexdigest()
        verdict = self._known_verdict(key, batch_id)
        if verdict is None:
            with self._compiling:
                verdict = self._known_verdict(key, batch_id)
                if verdict is None:  # no other thread compiled it in the meantime
                    verdict = self._compile(grammar, key, batch_id)
        if verdict.error is not None:
            raise RequestRefusedError(verdict.error, code="invalid_value", param=param)

    def close(self) -> None:
        """End the compiler; checks in progress raise `EngineError`."""
        self._compiler.close()

    def _compile(self, grammar: Grammar, key: str, batch_id: str) -> Verdict:
        verdict = self._compiler.compile(grammar, self._time_limit(batch_id))
        self._verdicts.put(key, verdict)
        if verdict.stopped_after < math.inf:
            stopped = self._stopped_by_batch.get(batch_id) or 0
            self._stopped_by_batch.put(batch_id, stopped + 1)
        return verdict

    def _time_limit(self, batch_id: str) -> float:
        """Return the CPU time in seconds for the batch's next grammar."""
        stopped = self._stopped_by_batch.get(batch_id) or 0
        return max(_MIN_SECONDS, _MAX_SECONDS * 0.5 ** min(stopped, 64))

    def _known_verdict(self, key: str, batch_id: str) -> Verdict | None:
        """Return the verdict on a grammar unless this batch may spend more time on it.

        A grammar that was stopped in one batch is compiled again for a batch with a
        higher limit, so no batch can have another batch's grammars refused.
        """
        verdict = self._verdicts.get(key)
        if verdict is None or verdict.stopped_after < self._time_limit(batch_id):
            return None
        return verdict
