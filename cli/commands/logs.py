"""`batchchat logs`: print what the engine of a batch printed."""

from batchchat.cli.terminal import options, streams


def logs(batch_id: options.BatchId) -> int:
    """Print the engine's log of a batch that ran on this machine.

    It has the errors of vLLM, and no prompts or answers. BATCHCHAT_ENGINE_LOG=info
    adds vLLM's other messages to later runs.

    batchchat logs batch_0199…
    """
    from batchchat.cli.backends.resolve import open_batch
    from batchchat.jobs.errors import NotFoundError
    from batchchat.jobs.ids import is_batch_id
    from batchchat.workers.engine.log_file import engine_log_path, engine_logs

    if not is_batch_id(batch_id):  # a whole id needs no storage
        _, batch_id = open_batch(batch_id)
    paths = engine_logs(batch_id)
    if not paths:
        shared = engine_log_path("serve")
        raise NotFoundError(
            f"there is no engine log of `{batch_id}` on this machine",
            hint=f"`batchchat serve` writes to `{shared}`, and workers write to stderr",
        )
    for path in paths:
        if len(paths) > 1:
            streams.print_data(f"=== {path.name}")
        text = path.read_text("utf-8", "backslashreplace")
        streams.print_text(text.replace("\r", "\n"))  # progress bars end in `\r`
    return 0
