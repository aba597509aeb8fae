"""`batchchat prune`: delete the batches that ended a certain time ago."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.commands.delete import as_object
from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import count, size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchchat.jobs.deletion.deletion import Removal
    from batchchat.jobs.deletion.pruning import Kept

_OlderThan = Annotated[
    int,
    typer.Option(
        "--older-than",
        metavar="DURATION",
        parser=options.parse_duration,
        help="Delete the batches that ended at least this long ago, such as 30d or"
        " 12h.",
    ),
]


def prune(
    older_than: _OlderThan,
    yes: options.Yes = False,
    keep_input: options.KeepInput = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> int:
    """Delete old batches with their results and their inputs.

    Batches that run, whose results are being delivered, or that other batches need are
    kept. Prints the size of each batch.

    batchchat prune --older-than 30d --dry-run
    """
    from batchchat.cli.backends.open import open_backend
    from batchchat.cli.terminal.confirmation import check_can_ask, confirmed

    check_can_ask(yes=yes or dry_run)
    backend = open_backend()
    before = int(time.time()) - older_than
    if not (yes or dry_run):
        found = _Pruned(backend.prune(before, keep_input=keep_input, dry_run=True))
        if not found.removals:
            return _report(found, is_done=False, json=json)
        if not confirmed(f"delete {found.described()}?", yes=False):
            return 1
    pruned = _Pruned(backend.prune(before, keep_input=keep_input, dry_run=dry_run))
    return _report(pruned, is_done=not dry_run, json=json)


class _Pruned:
    """What was or would be deleted, and what was kept."""

    def __init__(self, found: "Iterable[Removal | Kept]") -> None:
        from batchchat.jobs.deletion.pruning import Kept

        self.removals: list[Removal] = []
        self.kept: list[Kept] = []
        for one in found:
            if isinstance(one, Kept):
                self.kept.append(one)
            else:
                self.removals.append(one)

    @property
    def bytes(self) -> int:
        return sum(removal.bytes for removal in self.removals)

    def described(self) -> str:
        return f"{count(len(self.removals), 'batch')} ({size(self.bytes)})"


def _report(pruned: _Pruned, *, is_done: bool, json: bool) -> int:
    if json:
        streams.print_json(
            {
                "object": "list",
                "deleted": is_done,
                "data": [as_object(removal) for removal in pruned.removals],
                "kept": [
                    {"id": it.batch_id, "reason": it.reason} for it in pruned.kept
                ],
                "bytes": pruned.bytes,
            }
        )
        return 0
    for removal in pruned.removals:
        streams.print_data(f"{removal.batch_id}  {size(removal.bytes)}")
    for one in pruned.kept:
        streams.info(f"kept {one.batch_id}: {one.reason}")
    if pruned.removals:
        verb = "deleted" if is_done else "would delete"
        streams.info(f"{verb} {pruned.described()}")
    else:
        streams.info("no batches to delete")
    return 0
