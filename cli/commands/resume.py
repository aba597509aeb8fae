"""`batchchat resume`: go on with a batch that was stopped, however that came."""

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal


def resume(
    batch_id: options.BatchId,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Go on where a batch was stopped; what is finished is not run again.

    batchchat resume batch_0199…
    """
    from batchchat.cli.backends.open import open_batches
    from batchchat.cli.backends.run import Wish, run_batch

    batches = open_batches()
    if batches.get(batch_id).batch.is_terminal:
        terminal.say(f"`{batch_id}` has ended already")
    else:
        batches.hand_over(batch_id)
    return run_batch(batches, batch_id, Wish(progress=progress, json=json))
