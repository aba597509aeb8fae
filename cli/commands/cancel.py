"""`batchchat cancel`: stop a batch and keep its finished results."""

from batchchat.cli.terminal import options, streams


def cancel(batch_id: options.BatchId, json: options.Json = False) -> int:
    """Cancel a batch; finished results are kept.

    batchchat cancel batch_0199…
    """
    from batchchat.cli.backends.resolve import open_batch

    backend, found_id = open_batch(batch_id)
    view = backend.cancel(found_id)
    if found_id != batch_id:
        streams.info(f"cancelling `{found_id}`")
    streams.print_encoded(view.text) if json else streams.print_data(view.batch.status)
    return 0
