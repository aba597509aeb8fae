"""Configures and starts the vLLM engine for a model of the catalog."""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.download_watch import DownloadWatch
from batchchat.jobs.catalog.model_files import model_folder
from batchchat.jobs.prompts.loader import load_renderer
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.engine_check import check_parallel_sizes
from batchchat.workers.engine.process_guard import OWNER_VARIABLE
from batchchat.workers.engine.vllm_core import VllmCore, release_closed_engines

_CPU_ARGUMENTS = {
    # A seeded request whose prompt is prefilled in chunks crashes the CPU engine.
    "enable_chunked_prefill": False,
    # On a CPU, compiling takes longer than it saves in short runs.
    "enforce_eager": True,
}
_STRUCTURED_OUTPUTS_CONFIG = {
    # The compiler that each request needs; or `xgrammar` or `guidance` for all.
    "backend": "auto",
    # JSON allows unlimited whitespace, and weak models fill their answers with it.
    "disable_any_whitespace": True,
}
_DYNAMO_DISABLE = "TORCHDYNAMO_DISABLE"
_USERS_DYNAMO_DISABLE = os.environ.get(_DYNAMO_DISABLE)
_MIN_BATCHED_TOKENS = 4096
_THREAD_SWITCH_SECONDS = 0.001
"""Time after which another thread yields the interpreter to the engine's thread.

This applies when the core runs in this process. A step releases the interpreter
hundreds of times, and with Python's default it waits up to 5 ms each time until a
thread that renders or stores gives it back."""


OnStep = Callable[[str, DownloadWatch | None], object]


def start_vllm(
    model: Model,
    models: Path,
    *,
    in_subprocess: bool | None,
    log_level: str,
    on_step: OnStep = lambda _step, _download: None,
) -> EngineDriver:
    """Return a running engine for `model`.

    `models` is the folder of downloaded models. `in_subprocess` states whether the
    core runs in a child process; None selects what is best for the platform.
    `log_level` is the level of vLLM's own messages on stderr. `on_step` is called with
    what the start does next, and with what measures a download in that step.

    Raises:
        EngineStartError: vLLM is not installed, or it cannot load the model.
        ModelNotFoundError: the model's files are not available.

    """
    on_step("reading the tokenizer", None)
    renderer = load_renderer(model, models)
    source = str(model_folder(model, models)) if _is_local(model) else model.source
    set_environment(log_level)
    engine = EngineDriver(
        lambda: _build_core(
            model, source, renderer, in_subprocess=in_subprocess, on_step=on_step
        ),
        renderer,
    )
    try:
        engine.start()
    except BaseException:
        engine.close()
        raise
    return engine


def set_environment(log_level: str) -> None:
    """Set vLLM's environment variables; variables that the user has set stay."""
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    os.environ.setdefault("VLLM_LOGGING_LEVEL", log_level.upper())
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    if "OMP_WAIT_POLICY" not in os.environ:
        # At the end of an operation, the threads of a CPU engine spin until the last
        # one is done. The long default takes CPU time from other processes; without
        # any spinning, each operation costs a wake-up.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")


def _build_core(
    model: Model,
    source: str,
    renderer: PromptRenderer,
    *,
    in_subprocess: bool | None,
    on_step: OnStep,
) -> VllmCore:
    """Load vLLM and the model, which takes from seconds to minutes."""
    on_step("importing vLLM", None)
    on_cpu = _import_vllm()
    if in_subprocess is None:
        in_subprocess = not on_cpu
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(in_subprocess))
    check_parallel_sizes(model, _gpus(on_cpu=on_cpu))
    release_closed_engines()
    if not in_subprocess:
        sys.setswitchinterval(_THREAD_SWITCH_SECONDS)
    arguments = engine_arguments(model, source, renderer, on_cpu=on_cpu)
    _set_compiler_use(is_needed=not (on_cpu and arguments["enforce_eager"]))
    download = None if _is_local(model) else DownloadWatch.of_hub_model(model.source)
    on_step("reading the weights", download)
    core = VllmCore(model, arguments, renderer.template.source)
    renderer.complete_from_engine(core.context_length, core.encode)
    gc.freeze()  # a collection that traverses the loaded modules takes 0.5 s
    return core


def _import_vllm() -> bool:
    """Import vLLM; return whether it runs on a CPU.

    The import creates half a million objects that all stay alive. The garbage
    collector is off meanwhile, as it would take a tenth of the time and find nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        import vllm.v1.engine.llm_engine  # noqa: F401 - imports most of vLLM
        from vllm.platforms import current_platform
    finally:
        if was_enabled:
            gc.enable()
    return bool(current_platform.is_cpu())


def _gpus(*, on_cpu: bool) -> int | None:
    """Return the number of GPUs that vLLM can use, None if that is unknown."""
    if on_cpu:
        return 0
    import torch

    return torch.cuda.device_count() or None


def _set_compiler_use(*, is_needed: bool) -> None:
    """Disable torch's compiler for the next engine unless `is_needed`.

    Even with `enforce_eager`, vLLM compiles some functions of its sampler, such as the
    one that ranks log probabilities: this takes 18 s at their first use and fails on a
    machine without a C++ compiler. torch reads the variable when vLLM imports the
    sampler, which happens only when an engine is built.
    """
    if _USERS_DYNAMO_DISABLE is None:
        os.environ[_DYNAMO_DISABLE] = "0" if is_needed else "1"


def engine_arguments(
    model: Model, source: str, renderer: PromptRenderer, *, on_cpu: bool
) -> dict[str, Any]:
    """Return vLLM's `EngineArgs` for the model on this platform."""
    arguments: dict[str, Any] = {
        "model": source,
        "revision": model.revision,
        "max_model_len": model.context_length,
        "generation_config": "vllm",  # not the model's own sampling defaults
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "trust_remote_code": False,
        "seed": 0,
    }
    if on_cpu:
        length = renderer.context_length or 0
        arguments |= _CPU_ARGUMENTS
        arguments["max_num_batched_tokens"] = max(length, _MIN_BATCHED_TOKENS)
        arguments["distributed_executor_backend"] = "uni"
    structured_outputs = model.engine.get("structured_outputs_config", {})
    arguments |= model.engine
    arguments["structured_outputs_config"] = (
        _STRUCTURED_OUTPUTS_CONFIG | structured_outputs
    )
    if model.reasoning_parser:
        # vLLM's own argument for the parser fails if the config is a dictionary.
        arguments["structured_outputs_config"] = arguments[
            "structured_outputs_config"
        ] | {"reasoning_parser": model.reasoning_parser}
    return arguments


def _is_local(model: Model) -> bool:
    return model.source == "demo" or Path(model.source).expanduser().is_dir()
