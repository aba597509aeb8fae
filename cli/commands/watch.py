"""`batchchat watch`: follow a batch until it ends."""

from batchchat.cli.terminal import options


def watch(
    batch_id: options.BatchId,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Follow a batch that runs elsewhere, and report how it ended.

    batchchat watch batch_0199…
    """
    from batchchat.cli.backends.open import open_batches
    from batchchat.cli.backends.run import Wish, follow_batch

    batches = open_batches()
    batches.get(batch_id)  # that there is one is said before anything is shown
    return follow_batch(batches, batch_id, Wish(progress=progress, json=json))
