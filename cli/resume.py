"""`batchchat resume`: go on with a batch that was stopped, however that came."""

from cli import options, terminal


def resume(
    batch_id: options.BatchId,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Go on where a batch was stopped; what is finished is not run again.

    batchchat resume batch_0199…
    """
    from cli.batches import open_batches
    from cli.running import Wish, run_batch

    batches = open_batches()
    if batches.get(batch_id).batch.is_terminal:
        terminal.say(f"`{batch_id}` has ended already")
    else:
        batches.hand_over(batch_id)
    return run_batch(batches, batch_id, Wish(progress=progress, json=json))
