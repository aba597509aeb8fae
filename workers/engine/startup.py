"""Starts the engine that the settings ask for."""

from collections.abc import Callable
from pathlib import Path

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.download_watch import DownloadWatch
from batchchat.jobs.prompts.loader import load_renderer
from batchchat.jobs.settings import Settings
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.engine_check import check_engine

OnStep = Callable[[str, DownloadWatch | None], object]
"""Receives what the start does next, and what measures a download in that step."""


def start_engine(
    model: Model,
    models: Path,
    settings: Settings,
    on_step: OnStep = lambda _step, _download: None,
) -> EngineDriver:
    """Return a running engine for `model`; `models` is where the demo model is made.

    That is vLLM, unless the settings ask for simulated text. `on_step` is called
    several times, from any thread.

    Raises:
        EngineStartError: vLLM is not installed, or it can't load the model.
        ConfigError: the engine arguments are invalid, or need more GPUs.
        ModelNotFoundError: the model's files are not at hand.

    """
    if settings.simulated_tokens_per_second:
        from batchchat.workers.engine.echo_core import start_echo

        seconds = 1 / settings.simulated_tokens_per_second
        renderer = load_renderer(model, models)
        return start_echo(renderer, per_token=seconds, arguments=model.engine)
    check_engine(model, models, settings)
    from batchchat.workers.engine.vllm_startup import start_vllm

    return start_vllm(
        model,
        models,
        in_subprocess=settings.engine_in_subprocess,
        log_level=settings.engine_log,
        on_step=on_step,
    )
