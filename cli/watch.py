"""`batchchat watch`: follow a batch until it ends."""

from cli import options


def watch(
    batch_id: options.BatchId,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Follow a batch that runs elsewhere, and report how it ended.

    batchchat watch batch_0199…
    """
    from cli.batches import open_batches
    from cli.running import Wish, follow_batch

    batches = open_batches()
    batches.get(batch_id)  # that there is one is said before anything is shown
    return follow_batch(batches, batch_id, Wish(progress=progress, json=json))
