"""`batchchat verify`: rerun a sample of a batch and compare the answers."""

from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.terminal import options, streams

if TYPE_CHECKING:
    from batchchat.cli.backends.stored import StoredBackend
    from batchchat.jobs.ledger.records import Batch
    from batchchat.jobs.ledger.state import State
    from batchchat.jobs.results.joined_rows import Row
    from batchchat.jobs.results.verify import VerificationReport

_MAX_LISTED = 10


def verify(
    batch_id: options.BatchId,
    sample: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of requests to rerun.")
    ] = 20,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Rerun a sample of a batch and compare the answers.

    The sample runs as a new batch with the original seeds. The exit status is 1 if
    any answer differs.

    batchchat verify batch_0199… --sample 50
    """
    from batchchat.cli.backends.report import INCOMPLETE
    from batchchat.cli.backends.resolve import resolve_batch
    from batchchat.cli.backends.run import RunOptions, run_batch
    from batchchat.jobs.results import verify as verification

    backend = _open_stored_backend()
    batch_id = resolve_batch(backend, batch_id)
    ledger = backend.ledger
    state = ledger.state(batch_id)
    rows = verification.sample(ledger, state, sample)
    batch = _create_sample_batch(backend, state, rows)
    streams.info(f"rerunning {len(rows):,} requests as `{batch.id}`")
    run_batch(backend, batch.id, RunOptions(show_progress=progress))
    ended = ledger.state(batch.id)
    if not ended.is_terminal:
        return INCOMPLETE
    verdict = verification.compare(rows, ledger, ended)
    if json:
        streams.print_json(_object(batch_id, batch.id, verdict))
    else:
        _print(verdict)
    return 0 if verdict.identical == verdict.sampled else INCOMPLETE


def _open_stored_backend() -> "StoredBackend":
    from batchchat.cli.backends.open import open_backend
    from batchchat.cli.backends.stored import StoredBackend
    from batchchat.jobs.errors import UsageError

    backend = open_backend()
    if not isinstance(backend, StoredBackend):
        raise UsageError(
            "`verify` needs direct access to the storage, but BATCHCHAT_URL is set",
            hint="run `unset BATCHCHAT_URL`, and set BATCHCHAT_STORAGE",
        )
    return backend


def _create_sample_batch(
    backend: "StoredBackend", state: "State", rows: "list[Row]"
) -> "Batch":
    from batchchat.jobs.ledger.batch_options import BatchOptions
    from batchchat.jobs.ledger.stored_files import store_file
    from batchchat.jobs.ledger.submission import create_batch
    from batchchat.jobs.results import verify as verification

    ledger, plan, batch_id = backend.ledger, state.plan, state.batch.id
    lines = verification.rerun_lines(ledger, state, rows)
    input_file = store_file(ledger, lines, f"{batch_id}_verify.jsonl")
    options = BatchOptions(
        model=plan.model.name if plan and plan.model else state.batch.model,
        seed=state.batch.seed,
        prompt_time=state.batch.prompt_time,
        metadata={"verifies": batch_id},
    )
    return create_batch(
        ledger,
        input_file,
        options,
        enqueue=backend.runs_elsewhere,
        resolved_model=plan.model if plan else None,
    )


def _object(
    batch_id: str, run_id: str, verdict: "VerificationReport"
) -> dict[str, object]:
    return {
        "object": "batch.verification",
        "batch_id": batch_id,
        "verification_batch_id": run_id,
        "sampled": verdict.sampled,
        "identical": verdict.identical,
        "share": verdict.identical_share,
        "different": verdict.different,
        "fingerprints": {"then": verdict.then, "now": verdict.now},
    }


def _print(verdict: "VerificationReport") -> None:
    total = f"{verdict.sampled:,} answers"
    streams.print_data(
        f"{verdict.identical:,} of {total} identical ({verdict.identical_share:.1%})"
    )
    streams.print_data(f"  engine before  {', '.join(sorted(verdict.then))}")
    streams.print_data(f"  engine now     {', '.join(sorted(verdict.now))}")
    for custom_id in verdict.different[:_MAX_LISTED]:
        streams.print_data(f"  differs        {custom_id}")
    if len(verdict.different) > _MAX_LISTED:
        streams.print_data(f"  … and {len(verdict.different) - _MAX_LISTED:,} more")
