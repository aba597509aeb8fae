"""`batchchat retry`: a new batch of what failed."""

from cli import options, paths, terminal
from cli.options import Format


def retry(
    batch_id: options.BatchId,
    output: options.Output = None,
    format_: options.OutputFormat = Format.JSONL,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Run the requests of a batch that failed or never ran, as a new batch.

    batchchat retry batch_0199… --output more.jsonl
    """
    from pathlib import Path

    from cli.running import Wish, run_batch
    from cli.session import open_session
    from jobs.create import Options, create_batch, store_file
    from jobs.retry import retry_input

    session = open_session()
    ledger = session.ledger
    state = ledger.state(batch_id)
    wanted = paths.absolute(output)
    if wanted is not None:
        from jobs.export import check_output

        check_output(Path(wanted), format_)
    name = f"{batch_id}_retry.jsonl"
    input_file = store_file(ledger, retry_input(ledger, state), name)
    before = state.batch
    asked = Options(
        model=before.model,
        seed=before.seed,
        completion_window=before.completion_window,
        metadata=before.metadata,
        retry_of=batch_id,
        output=wanted,
        output_format=format_,
        priority=before.priority,
    )
    on_cluster = session.cluster is not None
    batch = create_batch(ledger, input_file, asked, hand_over=on_cluster)
    terminal.say(batch.id) if json else terminal.out(batch.id)
    return run_batch(session, batch.id, Wish(progress=progress, json=json))
