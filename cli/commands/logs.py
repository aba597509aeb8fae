"""`batchchat logs`: print what the engine of a batch printed."""

from batchchat.cli.terminal import options, streams


def logs(batch_id: options.BatchId) -> int:
    """Print the engine's log of a batch that ran on this machine.

    It has the errors of vLLM, and no prompts or answers. BATCHCHAT_ENGINE_LOG=info
    adds vLLM's other messages to later runs.

    batchchat logs batch_0199…
    """
    from batchchat.jobs.errors import NotFoundError
    from batchchat.jobs.ids import checked_id
    from batchchat.workers.engine.log_file import engine_log_path

    path = engine_log_path(checked_id("batch", batch_id))
    if not path.exists():
        shared = engine_log_path("serve")
        raise NotFoundError(
            f"there is no engine log of `{batch_id}` on this machine",
            hint=f"`batchchat serve` writes to `{shared}`, and workers write to stderr",
        )
    streams.print_bytes(path.read_bytes())
    return 0
