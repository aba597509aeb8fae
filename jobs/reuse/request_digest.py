"""What identifies the answer to a request, apart from the engine that computes it.

Two requests of one model with equal digests have the same prompt, the same sampling
and output constraints, and the same seed, unless they are greedy. Fields without
effect, such as `metadata`, do not count, nor whether a default value is given.

The prompt is not rendered: equal messages, tools and template arguments have equal
prompts, and the index of a batch says nothing about other models and templates.
"""

from hashlib import blake2b

import msgspec
from msgspec import UNSET

from batchchat.jobs.engine.sampling import Sampling, requested_tokens
from batchchat.jobs.engine.sampling import request_seed as seed_of
from batchchat.jobs.requests.parameters import PARAMETERS
from batchchat.jobs.requests.schema import BodyLine, Request

DIGEST_BYTES = 16

_NO_LIMIT = -1

_WITHOUT_EFFECT = tuple(
    name for name, parameter in PARAMETERS.items() if not parameter.has_effect
)
_REPLACED = ("model", "seed", "max_tokens", "max_completion_tokens")
"""Fields that are not part of the digest as they are written."""

_DEFAULTS = tuple(
    (field.name, field.default)
    for field in msgspec.structs.fields(Sampling)
    if field.name in PARAMETERS and isinstance(field.default, int | float)
)
"""Parameters whose default is a number or a Boolean, with that default."""

_encoder = msgspec.json.Encoder()


def request_digest(request: Request, batch_seed: int, *, reads_time: bool) -> bytes:
    """Return the digest of a request of a batch with `batch_seed`.

    The request must not be used after that: its body is normalized in place.
    `reads_time` states whether the model's chat template may read the time.
    """
    is_greedy = request.parameter("temperature") == 0
    seed = None if is_greedy else seed_of(request, batch_seed)
    max_tokens = requested_tokens(request, _NO_LIMIT)
    time = request.time if reads_time else None
    _normalize(request)
    encoded = _encoder.encode((request.body, seed, max_tokens, time))
    return blake2b(encoded, digest_size=DIGEST_BYTES).digest()


def _normalize(request: Request) -> None:
    """Remove from the body what does not affect the answer, or is added otherwise."""
    body = request.body
    if isinstance(body, BodyLine):
        body.custom_id = UNSET
    for name in _REPLACED:
        setattr(body, name, UNSET)
    for name in _WITHOUT_EFFECT:
        setattr(body, name, UNSET)
    for name, default in _DEFAULTS:
        if getattr(body, name) == default:
            setattr(body, name, UNSET)
    if isinstance(body.stop, str):
        body.stop = [body.stop]
