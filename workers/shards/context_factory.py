"""Makes the contexts in which attempts run on one engine."""

from threading import Lock

from batchchat.jobs.engine.protocol import Engine
from batchchat.jobs.execution.answer_cache import AnswerCache
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.execution.engine_gate import EngineGate
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Plan
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.settings import Settings
from batchchat.workers.shards.open_attempts import OpenAttempt

_MAX_ANSWER_CACHES = 4


class ContextFactory:
    """All attempts share the engine; those of a batch also share its answer cache."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        """Make contexts for `engine`."""
        self._engine = engine
        self._settings = settings
        self._engine_gate = EngineGate()
        self._answer_caches: LruCache[str, AnswerCache] = LruCache(_MAX_ANSWER_CACHES)
        self._lock = Lock()

    def make(
        self, batch_id: str, ledger: Ledger, plan: Plan, attempt: OpenAttempt
    ) -> BatchContext:
        """Return the context for an attempt at a shard of `plan`."""
        return BatchContext(
            ledger=ledger,
            batch=ledger.batch(batch_id),
            model=plan.require_model(),
            engine=self._engine,
            stop=attempt.stop,
            progress=attempt.progress,
            max_line_bytes=plan.max_line_bytes,
            first_tail_shard=plan.first_tail_shard,
            checkpoint_seconds=self._settings.checkpoint_seconds,
            reuse=plan.reuse,
            is_planned=lambda: _is_planned(ledger, batch_id, plan),
            engine_gate=self._engine_gate,
            answer_cache=self._answer_cache(batch_id),
        )

    def _answer_cache(self, batch_id: str) -> AnswerCache:
        with self._lock:
            cache = self._answer_caches.get(batch_id)
            if cache is None:
                cache = AnswerCache(enabled=self._settings.deduplicate_requests)
                self._answer_caches.put(batch_id, cache)
            return cache


def _is_planned(ledger: Ledger, batch_id: str, plan: Plan) -> bool:
    current = ledger.current_plan(batch_id)
    return current is not None and current.created_at == plan.created_at
