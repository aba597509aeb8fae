"""Answers for results whose files were deleted."""

from batchchat.api.http.errors import ApiError
from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State


def require_result_files(ledger: Ledger, state: State) -> None:
    """Raise `ApiError` (404) if a result file of an ended batch was deleted."""
    if state.final is not None:
        require_file(ledger, state.final.output_file_id, "output")
        require_file(ledger, state.final.error_file_id, "error")


def require_file(ledger: Ledger, file_id: str | None, kind: str) -> None:
    """Raise `ApiError` (404) if the content of a batch's file was deleted."""
    try:
        if file_id is not None:
            ledger.storage.size(ledger.keys.content(file_id))
    except ObjectMissingError:
        message = f"The {kind} file of this batch, `{file_id}`, was deleted."
        raise ApiError(404, message, code="file_deleted") from None
