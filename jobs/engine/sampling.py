"""Sampling parameters: a complete set, with a seed, for every request.

No parameter is left to the engine's defaults: vLLM's `max_tokens` would be 16, and it
reads sampling defaults from a model's `generation_config.json`.
"""

from hashlib import blake2b

import msgspec

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.requests.schema import Request

_SEED_BITS = 53
"""Derived seeds are exact in every JSON reader, even as JavaScript's doubles."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of one request; `max_tokens` fits into the context.

    `seed` is the first choice's; `nth_seed` derives those of the others.
    """

    max_tokens: int
    seed: int
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    top_k: int = 0
    min_tokens: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    allowed_token_ids: tuple[int, ...] = ()
    bad_words: tuple[str, ...] = ()
    logit_bias: dict[int, float] = {}
    logprobs: int | None = None
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    include_stop_str_in_output: bool = False


_COPIED_FIELDS = (
    "n",
    "temperature",
    "top_p",
    "min_p",
    "top_k",
    "min_tokens",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "ignore_eos",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "include_stop_str_in_output",
)


def sampling_for(
    request: Request, model: Model, seed: int, available_tokens: int
) -> Sampling:
    """Return the sampling parameters of `request`.

    `seed` is used instead of the request's own, which `request_seed` returns.
    `available_tokens` is what the context has left after the prompt. With `ignore_eos`,
    the model's stop tokens do not end the answer either, as in vLLM.
    """
    given = request.parameter
    same = {
        name: value for name in _COPIED_FIELDS if (value := given(name)) is not None
    }
    stop = given("stop") or ()
    bias = given("logit_bias") or {}
    model_stops = () if given("ignore_eos") else model.stop_token_ids
    return Sampling(
        **same,
        max_tokens=min(requested_tokens(request, available_tokens), available_tokens),
        seed=seed,
        stop=(*((stop,) if isinstance(stop, str) else stop), *model.stop),
        stop_token_ids=(*(given("stop_token_ids") or ()), *model_stops),
        allowed_token_ids=tuple(given("allowed_token_ids") or ()),
        bad_words=tuple(given("bad_words") or ()),
        logit_bias={int(token): value for token, value in bias.items()},
        logprobs=(given("top_logprobs") or 0) if given("logprobs") else None,
    )


def requested_tokens(request: Request, available_tokens: int) -> int:
    """Return the token limit of the request, `available_tokens` if it has none."""
    for name in ("max_completion_tokens", "max_tokens"):
        value: int | None = request.parameter(name)
        if value is not None:
            return value
    return available_tokens


def request_seed(request: Request, batch_seed: int) -> int:
    """Return the request's own seed, or one that is the same in every run."""
    seed: int | None = request.parameter("seed")
    if seed is None:
        return derived_seed(batch_seed, request.custom_id)
    return seed


def derived_seed(batch_seed: int, custom_id: str) -> int:
    """Return the seed of a request that has none of its own."""
    return _hash(f"{batch_seed}:{custom_id}")


def nth_seed(seed: int, index: int) -> int:
    """Return the seed of one of a request's answers: of a choice, or of a turn.

    The first answer (`index` 0) has the request's `seed`. A sampler with the same seed
    draws the same random numbers, which often repeats an answer. With `seed + index`,
    requests with neighbouring seeds would have choices in common.
    """
    return _hash(f"{seed}#{index}") if index else seed


def _hash(text: str) -> int:
    digest = blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - _SEED_BITS)
