"""Requests that must have one answer: it is computed once, and each gets it.

So it is with requests of the same prompt and the same parameters that draw nothing
(temperature 0), or that all bring the same seed. A seed made from a custom_id
differs from request to request, so what is sampled without a seed is never shared.

While one is in the engine those alike wait beside it, within their shard; what was
answered is remembered, for all shards of a batch in a process, up to some memory.
What that does to usage and to seeds: `docs/decisions/0017-request-deduplication.md`.
"""

from collections import OrderedDict
from hashlib import blake2b
from threading import Lock

import msgspec

from batchchat.jobs.engine.protocol import Completion, EngineRequest
from batchchat.jobs.requests.schema import Request

_MAX_BYTES = 32 * 1024 * 1024
_OVERHEAD_BYTES = 1_000
"""Bytes of an answer beside its texts."""

_encoder = msgspec.json.Encoder()


class AnswerCache:
    """The answers of a batch that another request may get too; safe from threads."""

    def __init__(self, *, enabled: bool = True, max_bytes: int = _MAX_BYTES) -> None:
        """Remember answers of up to `most_bytes`; those not used the longest go."""
        self._enabled = enabled
        self._max_bytes = max_bytes
        self._bytes = 0
        self._answers: OrderedDict[bytes, Completion] = OrderedDict()
        self._lock = Lock()

    def cache_key(self, request: Request, work: EngineRequest) -> bytes | None:
        """Return what all that are alike share; None for what is drawn on its own."""
        sampling = work.sampling
        is_greedy = sampling.temperature == 0
        if not self._enabled or not (
            is_greedy or request.parameter("seed") is not None
        ):
            return None
        if is_greedy:
            sampling = msgspec.structs.replace(sampling, seed=0)
        asked = _encoder.encode((work.prompt.token_ids, sampling, work.constraints))
        return blake2b(asked, digest_size=16).digest()

    def answer(self, name: bytes) -> Completion | None:
        """Return the answer to one that was alike, None where none is remembered."""
        with self._lock:
            known = self._answers.get(name)
            if known is not None:
                self._answers.move_to_end(name)
        return known and as_duplicate(known)

    def put(self, name: bytes, answer: Completion) -> None:
        """Remember an answer, unless it has log probabilities, which are large."""
        if any(choice.logprobs for choice in answer.choices):
            return
        with self._lock:
            if name not in self._answers:
                self._answers[name] = answer
                self._bytes += _size(answer)
            while self._bytes > self._max_bytes:
                _, oldest = self._answers.popitem(last=False)
                self._bytes -= _size(oldest)


def as_duplicate(answer: Completion) -> Completion:
    """Return an answer for another request: the same tokens, no time of the engine."""
    return msgspec.structs.replace(answer, engine_seconds=0.0)


def _size(answer: Completion) -> int:
    texts = sum(len(c.text or "") + len(c.reasoning or "") for c in answer.choices)
    return _OVERHEAD_BYTES + texts
