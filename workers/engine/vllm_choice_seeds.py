"""Gives each choice of a request with `n` > 1 a seed of its own.

vLLM gives choice i the seed `seed + i`, so that the second choice of a request with
seed 1 has the same random numbers as the first choice of one with seed 2. Users often
number their seeds; equal prompts would then share most of their answers.
"""

from typing import Any

from typing_extensions import override

from batchchat.jobs.engine.sampling import nth_seed


def derive_choice_seeds() -> None:
    """Make the engines of this process use `nth_seed` for the choices of a request."""
    from vllm.v1.engine import llm_engine

    if not hasattr(llm_engine.ParentRequest, "has_derived_seeds"):
        llm_engine.ParentRequest = _with_derived_seeds(llm_engine.ParentRequest)


def _with_derived_seeds(parent_request: type[Any]) -> type[Any]:
    class SeededParentRequest(parent_request):  # type: ignore[misc]
        has_derived_seeds = True

        @override
        def get_child_info(self, index: int) -> tuple[str, Any]:
            child_id, params = super().get_child_info(index)
            params.seed = nth_seed(self.sampling_params.seed, index)
            return child_id, params

    return SeededParentRequest
