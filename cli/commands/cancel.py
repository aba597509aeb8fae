"""`batchchat cancel`: stop a batch and keep its finished results."""

from batchchat.cli.terminal import options, streams


def cancel(batch_id: options.BatchId, json: options.Json = False) -> int:
    """Cancel a batch; finished results are kept.

    batchchat cancel batch_0199…
    """
    from batchchat.cli.backends.open import open_backend

    view = open_backend().cancel(batch_id)
    streams.print_data(view.text.decode() if json else view.batch.status)
    return 0
