"""`batchchat retry`: a new batch of what failed."""

from cli import options, paths, terminal
from cli.options import Format


def retry(
    batch_id: options.BatchId,
    output: options.Output = None,
    format_: options.OutputFormat = Format.JSONL,
    max_cost: options.MaxCost = None,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Run the requests of a batch that failed or never ran, as a new batch.

    batchchat retry batch_0199… --output more.jsonl
    """
    from pathlib import Path

    from cli.batches import open_batches
    from cli.running import Wish, run_batch
    from cli.view import Delivery

    batches = open_batches()
    batches.get(batch_id)  # that there is one comes before where its results go
    delivery, wanted = None, paths.absolute(output)
    if wanted is not None:
        from jobs.export import check_output

        delivery = Delivery(Path(wanted), format_)
        check_output(*delivery)
    new_id = batches.retry(batch_id, delivery, options.dollars(max_cost))
    terminal.say(new_id) if json else terminal.out(new_id)
    return run_batch(batches, new_id, Wish(progress=progress, json=json))
