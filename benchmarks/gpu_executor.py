"""A vLLM executor that computes nothing but takes the time that a GPU would take.

vLLM's scheduler, tokenizer, detokenizer and front end run as they are; only the model
is missing. Tokens are invented.
"""

import os
import struct
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch
from typing_extensions import override
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.executor.abstract import Executor
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheSpec
from vllm.v1.outputs import ModelRunnerOutput

SPEED_VARIABLE = "GPU_SPEED"
KV_TOKENS_VARIABLE = "GPU_KV_TOKENS"
TIMES_VARIABLE = "GPU_TIMES"
TIMES = struct.Struct("dq")
"""What the file of times holds: seconds of all steps, and their number."""

_BLOCK_TOKENS = 16
_FIRST_TOKEN, _TOKENS = 300, 200
"""The range of invented tokens: ordinary ones of the demo model."""


@dataclass(frozen=True)
class Speed:
    """Seconds of a step, of each token of a prompt in it, and of each sequence."""

    step: float
    prompt_token: float
    sequence: float

    def seconds(self, prompt_tokens: int, sequences: int) -> float:
        """Return how long a step takes."""
        return self.step + self.prompt_token * prompt_tokens + self.sequence * sequences


SPEEDS = {
    "8b": Speed(5e-3, 27e-6, 9e-6),
    "1b": Speed(2e-3, 3e-6, 1.5e-6),
}
"""By size of the model, on an H200."""


class _AtTime(Future[ModelRunnerOutput]):
    """A result that is there from a point in time on."""

    def __init__(self, output: ModelRunnerOutput, at: float) -> None:
        super().__init__()
        self._at = at
        self.set_result(output)

    @override
    def done(self) -> bool:
        return time.perf_counter() >= self._at

    @override
    def result(self, timeout: float | None = None) -> ModelRunnerOutput:
        time.sleep(max(0.0, self._at - time.perf_counter()))
        return super().result(timeout)


class GpuSpeedExecutor(Executor):  # type: ignore[misc]
    """Sleeps for the time of each step and returns a token for each decoded sequence.

    `GPU_SPEED` names the speed (`8b` or `1b`), `GPU_KV_TOKENS` is the number of tokens
    that fit into the KV cache, and `GPU_TIMES` the file for `TIMES`.
    """

    def _init_executor(self) -> None:
        self._speed = SPEEDS[os.environ[SPEED_VARIABLE]]
        self._known_tokens: dict[str, int] = {}
        self._ends = 0.0
        self._busy_seconds = 0.0
        self._steps = 0
        self._times = os.open(os.environ[TIMES_VARIABLE], os.O_WRONLY)

    @override
    def get_kv_cache_specs(self) -> list[dict[str, KVCacheSpec]]:
        return [{"layer": self._kv_cache_spec()}]

    def _kv_cache_spec(self) -> FullAttentionSpec:
        return FullAttentionSpec(
            block_size=_BLOCK_TOKENS, num_kv_heads=1, head_size=64, dtype=torch.float16
        )

    @override
    def determine_available_memory(self) -> list[int]:
        blocks = int(os.environ[KV_TOKENS_VARIABLE]) // _BLOCK_TOKENS
        return [blocks * self._kv_cache_spec().page_size_bytes]

    @override
    def get_supported_kv_cache_layouts(self) -> list[list[str]]:
        return [["LBNHC"]]

    @override
    def collective_rpc(self, method: Any, *_: object, **__: object) -> list[Any]:
        """Return the supported tasks; do nothing else."""
        return [("generate",) if method == "get_supported_tasks" else None]

    @override
    def compile_or_warm_up_model(self) -> None:
        pass

    @override
    def check_health(self) -> None:
        pass

    @override
    def execute_model(
        self, scheduler_output: SchedulerOutput, non_block: bool = False
    ) -> Any:
        """Return the step's output; with `non_block`, a future of it."""
        output, prompt_tokens = self._run(scheduler_output)
        seconds = 0.0
        if scheduler_output.total_num_scheduled_tokens:
            seconds = self._speed.seconds(prompt_tokens, len(output.req_ids))
            self._steps += 1
            self._busy_seconds += seconds
            os.pwrite(self._times, TIMES.pack(self._busy_seconds, self._steps), 0)
        self._ends = max(self._ends, time.perf_counter()) + seconds
        future = _AtTime(output, self._ends)
        return future if non_block else future.result()

    def _run(self, scheduled: SchedulerOutput) -> tuple[ModelRunnerOutput, int]:
        """Return the output of a step, and how many tokens of prompts it computed."""
        known = self._known_tokens
        for name in scheduled.finished_req_ids:
            known.pop(name, None)
        computed = dict(
            zip(
                scheduled.scheduled_cached_reqs.req_ids,
                scheduled.scheduled_cached_reqs.num_computed_tokens,
                strict=True,
            )
        )
        for new in scheduled.scheduled_new_reqs:
            known[new.req_id] = len(new.prompt_token_ids or ())
            computed[new.req_id] = new.num_computed_tokens
        names = list(scheduled.num_scheduled_tokens)
        tokens: list[list[int]] = []
        prompt_tokens = 0
        for name in names:
            count = scheduled.num_scheduled_tokens[name]
            is_decoded = computed[name] + count >= known[name]
            prompt_tokens += count - is_decoded
            tokens.append([self._token(name)] if is_decoded else [])
            known[name] += is_decoded
        positions = {name: at for at, name in enumerate(names)}
        return ModelRunnerOutput(names, positions, tokens), prompt_tokens

    def _token(self, name: str) -> int:
        return _FIRST_TOKEN + self._known_tokens[name] * 7919 % _TOKENS
