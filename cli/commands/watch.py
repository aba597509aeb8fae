"""`batchchat watch`: follow a batch until it ends."""

from batchchat.cli.terminal import options


def watch(
    batch_id: options.BatchId,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Follow a batch that runs elsewhere until it ends.

    Ctrl-C stops watching and not the batch.

    batchchat watch batch_0199…
    """
    from batchchat.cli.backends.resolve import open_batch
    from batchchat.cli.backends.run import RunOptions, follow_batch

    backend, batch_id = open_batch(batch_id)
    run_options = RunOptions(show_progress=progress, print_json=json)
    return follow_batch(backend, batch_id, run_options)
