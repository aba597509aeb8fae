"""Deduplicates requests that must have the same answer: it is computed only once.

Two requests must have the same answer if they have the same prompt and parameters, and
are either greedy (temperature 0) or both set the same seed. Seeds derived from
custom_ids differ from request to request, so sampled requests without a seed are never
deduplicated.

While the first of them is in the engine, its duplicates in the same shard wait for it.
Finished answers are cached for all shards of a batch in this process, up to a size.
Effects on usage and seeds: `docs/decisions/0017-request-deduplication.md`.
"""

from hashlib import blake2b

import msgspec

from batchchat.jobs.engine.protocol import Completion, EngineRequest
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.requests.schema import Request

_MAX_BYTES = 32 * 1024 * 1024
_OVERHEAD_BYTES = 500
"""The key of an answer, and what the cache itself needs for it."""

_BYTES_PER_ENCODED_BYTE = 2
"""How much more memory the objects of an answer take than their JSON."""

_encoder = msgspec.json.Encoder()


class AnswerCache:
    """The most recently used answers of a batch; thread-safe."""

    def __init__(self, *, enabled: bool = True, max_bytes: int = _MAX_BYTES) -> None:
        """Hold up to `max_bytes` of answers; if not `enabled`, no request has a key."""
        self._enabled = enabled
        self._answers = LruCache[bytes, Completion](max_bytes, _size)

    def cache_key(
        self, request: Request, engine_request: EngineRequest
    ) -> bytes | None:
        """Return a key shared by all duplicates, None if the answer can't be shared."""
        sampling = engine_request.sampling
        is_greedy = sampling.temperature == 0
        is_repeatable = is_greedy or request.parameter("seed") is not None
        if not self._enabled or not is_repeatable:
            return None
        if is_greedy:
            sampling = msgspec.structs.replace(sampling, seed=0)
        prompt, constraints = engine_request.prompt, engine_request.constraints
        encoded = _encoder.encode((prompt.token_ids, sampling, constraints))
        return blake2b(encoded, digest_size=16).digest()

    def get(self, key: bytes) -> Completion | None:
        """Return the answer for a duplicate, None if it is not in the cache."""
        answer = self._answers.get(key)
        return answer and as_duplicate(answer)

    def put(self, key: bytes, answer: Completion) -> None:
        """Add an answer, unless it has log probabilities, which are large."""
        if not any(choice.logprobs for choice in answer.choices):
            self._answers.put(key, answer)


def as_duplicate(answer: Completion) -> Completion:
    """Return the answer for a duplicate: the same tokens, but no engine time."""
    return msgspec.structs.replace(answer, engine_seconds=0.0)


def _size(answer: Completion) -> int:
    return _OVERHEAD_BYTES + _BYTES_PER_ENCODED_BYTE * len(_encoder.encode(answer))
