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
    from cli.running import Wish, run_batch
    from cli.session import open_session
    from jobs.active import Active

    session = open_session()
    if session.ledger.state(batch_id).is_terminal:
        terminal.say(f"`{batch_id}` has ended already")
    elif session.cluster:
        Active(session.ledger.storage).add(session.ledger.project, batch_id)
    return run_batch(session, batch_id, Wish(progress=progress, json=json))
