"""`batchchat retry`: a new batch of what failed."""

from batchchat.cli.terminal import options, paths
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.options import Format


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

    from batchchat.cli.backends.batch_view import Delivery
    from batchchat.cli.backends.open import open_batches
    from batchchat.cli.backends.run import Wish, run_batch

    batches = open_batches()
    batches.get(batch_id)  # that there is one comes before where its results go
    delivery, wanted = None, paths.absolute(output)
    if wanted is not None:
        from batchchat.jobs.results.export import check_output

        delivery = Delivery(Path(wanted), format_)
        check_output(*delivery)
    new_id = batches.retry(batch_id, delivery, options.dollars(max_cost))
    terminal.say(new_id) if json else terminal.out(new_id)
    return run_batch(batches, new_id, Wish(progress=progress, json=json))
