"""`batchchat status`: where a batch stands."""

from cli import options, terminal
from cli.text import count, moment, short


def status(batch_id: options.BatchId, json: options.Json = False) -> int:
    """Show where a batch stands.

    batchchat status batch_0199…
    """
    from cli.report import engine_time
    from cli.session import open_session
    from jobs.batch_object import batch_object

    session = open_session()
    state = session.state(batch_id)
    if json:
        terminal.out_json(batch_object(state))
        return 0
    counts, usage, batch = state.counts(), state.usage(), state.batch
    done = counts.completed + counts.failed
    share = f" ({done / counts.total:.0%})" if counts.total else ""
    progress = f"{count(done)} / {count(counts.total)} requests{share}"
    terminal.out(f"{batch.id}  {state.status}  {progress}")
    rows = [
        ("model", batch_object(state)["model"] or "not known yet"),
        ("created", moment(batch.created_at)),
        ("completed", count(counts.completed)),
        ("failed", count(counts.failed)),
        ("tokens", f"{short(usage.input_tokens)} in, {short(usage.output_tokens)} out"),
        ("cost", f"${state.cost():f}"),
        ("engine", engine_time(state)),
    ]
    if state.plan and not state.is_terminal:
        shards = len(state.plan.shards)
        rows.append(
            ("shards", f"{shards - len(state.pending())} of {shards} committed")
        )
    if session.cluster and not state.is_terminal:
        workers = session.cluster.workers_of(state)
        speed = sum(worker.tokens_per_second for worker in workers)
        rows.append(("workers", f"{len(workers)}, {short(speed)} tokens/s"))
    for name, value in rows:
        terminal.out(f"  {name:<10} {value}")
    _say_next(state.status, batch_id, on_cluster=session.cluster is not None)
    return 0


def _say_next(status: str, batch_id: str, *, on_cluster: bool) -> None:
    if status == "failed":
        terminal.hint(f"see why with `batchchat status {batch_id} --json`")
    elif status == "completed":
        terminal.hint(f"read the results with `batchchat results {batch_id}`")
    elif status in {"cancelled", "expired"}:
        return
    elif on_cluster:
        terminal.hint(f"follow it with `batchchat watch {batch_id}`")
    elif status != "cancelling":
        terminal.hint(f"if nothing runs it, go on with `batchchat resume {batch_id}`")
