"""`batchchat verify`: how many answers come out the same when they are run again."""

from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal

if TYPE_CHECKING:
    from batchchat.jobs.results.verify import Verdict

_SHOWN = 10


def verify(
    batch_id: options.BatchId,
    sample: Annotated[
        int, typer.Option("--sample", min=1, metavar="N", help="Requests to run again.")
    ] = 20,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Run a sample of a batch again, and say how many answers are identical.

    The requests run with the seeds that they had, as a batch of their own.
    Exit status 1 where an answer differs.

    batchchat verify batch_0199… --sample 50
    """
    from batchchat.cli.backends.open import open_batches
    from batchchat.cli.backends.report import BAD_ANSWER
    from batchchat.cli.backends.run import Wish, run_batch
    from batchchat.cli.backends.stored import StoredBatches
    from batchchat.jobs.errors import UsageError
    from batchchat.jobs.ledger.stored_files import store_file
    from batchchat.jobs.ledger.submission import Options, create_batch
    from batchchat.jobs.results import verify as verification

    batches = open_batches()
    if not isinstance(batches, StoredBatches):
        raise UsageError(
            "`verify` reads the storage itself, and BATCHCHAT_URL names a server",
            hint="run it where BATCHCHAT_STORAGE is set, without BATCHCHAT_URL",
        )
    ledger = batches.ledger
    state = ledger.state(batch_id)
    rows = verification.sample(ledger, state, sample)
    lines = verification.again(ledger, state, rows)
    input_file = store_file(ledger, lines, f"{batch_id}_verify.jsonl")
    plan = state.plan
    asked = Options(
        model=plan.model.name if plan and plan.model else state.batch.model,
        seed=state.batch.seed,
        metadata={"verifies": batch_id},
    )
    hand_over = batches.handed_over
    batch = create_batch(ledger, input_file, asked, hand_over=hand_over)
    terminal.say(f"running {len(rows):,} of its requests again as `{batch.id}`")
    run_batch(batches, batch.id, Wish(progress=progress))
    ended = ledger.state(batch.id)
    if not ended.is_terminal:
        return BAD_ANSWER
    verdict = verification.compare(rows, ledger, ended)
    if json:
        terminal.out_json(_object(batch_id, batch.id, verdict))
    else:
        _print(verdict)
    return 0 if verdict.identical == verdict.sampled else BAD_ANSWER


def _object(batch_id: str, run_id: str, verdict: "Verdict") -> dict[str, object]:
    return {
        "object": "batch.verification",
        "batch_id": batch_id,
        "verification_batch_id": run_id,
        "sampled": verdict.sampled,
        "identical": verdict.identical,
        "share": verdict.share,
        "different": verdict.different,
        "fingerprints": {"then": verdict.then, "now": verdict.now},
    }


def _print(verdict: "Verdict") -> None:
    share = f"({verdict.share:.1%})"
    terminal.out(f"{verdict.identical:,} of {verdict.sampled:,} identical {share}")
    terminal.out(f"  engine then  {', '.join(sorted(verdict.then))}")
    terminal.out(f"  engine now   {', '.join(sorted(verdict.now))}")
    for custom_id in verdict.different[:_SHOWN]:
        terminal.out(f"  differs      {custom_id}")
    if len(verdict.different) > _SHOWN:
        terminal.out(f"  and {len(verdict.different) - _SHOWN:,} more")
