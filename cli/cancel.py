"""`batchchat cancel`: stop a batch; what is finished is kept."""

from cli import options, terminal


def cancel(batch_id: options.BatchId, json: options.Json = False) -> int:
    """Stop a batch and keep what is finished.

    batchchat cancel batch_0199…
    """
    from cli.session import open_session
    from jobs.active import Active
    from jobs.batch_object import batch_object
    from jobs.create import cancel_batch
    from jobs.finalize import finalize
    from workers.lock import BusyError, batch_lock

    session = open_session()
    ledger = session.ledger
    cancel_batch(ledger, batch_id)
    if session.cluster:
        Active(ledger.storage).add(ledger.project, batch_id)
        terminal.say("its workers stop, and a controller writes what is finished")
    else:
        try:
            with batch_lock(session.locks, batch_id):
                finalize(ledger, batch_id, "cancelled")
        except BusyError:
            terminal.say("the process that runs it stops when it next looks")
    state = ledger.state(batch_id)
    if json:
        terminal.out_json(batch_object(state))
    else:
        terminal.out(state.status)
    return 0
