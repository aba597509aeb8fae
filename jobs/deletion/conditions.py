"""Whether a batch may be deleted."""

from batchchat.jobs.errors import ConflictError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.readers import readers_of
from batchchat.jobs.ledger.state import State

_DELIVERY_SECONDS = 90_000
"""Time after the end of a batch after which its delivery was given up: a day, and an
hour by which clocks may differ."""


def check_ended(state: State, now: int) -> None:
    """Check that a batch has ended and that its results are delivered.

    Raises:
        ConflictError: it has not, or its results are being delivered.

    """
    batch_id = state.batch.id
    if not state.is_terminal:
        is_ending = state.status in {"finalizing", "cancelling"}
        wait = f"wait for its end with `batchchat watch {batch_id}`"
        cancel = f"cancel it with `batchchat cancel {batch_id}`"
        raise ConflictError(
            f"`{batch_id}` is {state.status}: only a batch that has ended can be"
            " deleted",
            hint=wait if is_ending else f"{cancel}, or {wait}",
        )
    ended_at = ended(state)
    if not state.is_delivered and now - ended_at <= _DELIVERY_SECONDS:
        raise ConflictError(
            f"the results of `{batch_id}` are not delivered to"
            f" `{state.batch.destination}` yet",
            hint="a controller or server delivers them; without one, run"
            f" `batchchat resume {batch_id}`",
        )


def check_unread(ledger: Ledger, batch_id: str) -> None:
    """Check that no other batch reads the results of this one.

    Raises:
        ConflictError: another batch does; the error names it.

    """
    reader = next(readers_of(ledger, batch_id), None)
    if reader is not None:
        raise ConflictError(
            f"`{reader}` reads the results of `{batch_id}`",
            hint=f"wait until `{reader}` has ended; if it has, it is a retry that needs"
            f" them: delete it first with `batchchat delete {reader}`",
        )


def ended(state: State) -> int:
    """Return when a batch ended, in Unix seconds."""
    return (state.final or state.require_plan()).created_at
