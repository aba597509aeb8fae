"""`batchchat cancel`: stop a batch; what is finished is kept."""

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal


def cancel(batch_id: options.BatchId, json: options.Json = False) -> int:
    """Stop a batch and keep what is finished.

    batchchat cancel batch_0199…
    """
    from batchchat.cli.backends.open import open_batches

    view = open_batches().cancel(batch_id)
    terminal.out(view.text.decode() if json else view.batch.status)
    return 0
