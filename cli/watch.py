"""`batchchat watch`: follow a batch until it ends."""

from cli import options


def watch(
    batch_id: options.BatchId,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Follow a batch that runs elsewhere, and report how it ended.

    batchchat watch batch_0199…
    """
    from cli.running import Wish, follow_batch
    from cli.session import open_session

    session = open_session()
    session.state(batch_id)  # that there is one is said before anything is shown
    return follow_batch(session, batch_id, Wish(progress=progress, json=json))
