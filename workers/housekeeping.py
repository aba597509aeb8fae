"""Periodically deletes expired files and batches, and what processes have left."""

import logging
import threading
from collections.abc import Callable
from functools import partial

from batchchat.jobs.access import idempotency
from batchchat.jobs.deletion.deletion import Deleter
from batchchat.jobs.deletion.pruning import Kept, prune
from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.files.files import Files
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.logs import event_fields
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import LocalStorage, Storage

_logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 600.0
_PARTIAL_FILE_SECONDS = 86_400
"""Age at which a partially written local file counts as left by a killed process."""

_SHUTDOWN_SECONDS = 12.0


class Housekeeping:
    """Cleans up the storage of all projects in a background thread.

    Every deletion is safe to repeat, so several processes may do it at the same time
    and a killed one leaves the rest to the next run.
    """

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        ledger: Callable[[str], Ledger],
        local_storage: LocalStorage | None = None,
    ) -> None:
        """Prepare to clean up `storage`; `start` begins.

        `ledger` returns the ledger of a project. `local_storage` is the underlying
        storage if it is a local folder.
        """
        self._storage = storage
        self._settings = settings
        self._ledger = ledger
        self._local_storage = local_storage
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="housekeeping", daemon=True
        )

    def start(self) -> None:
        """Start the thread; it cleans up at once, then every ten minutes."""
        self._thread.start()

    def close(self) -> None:
        """Stop, waiting a few seconds for the project that is being cleaned up."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(_SHUTDOWN_SECONDS)

    def clean_up(self) -> None:
        """Clean up once. Raises `BatchchatError` if projects cannot be listed."""
        if self._local_storage is not None:
            self._local_storage.remove_leftovers(_PARTIAL_FILE_SECONDS)
        for project in list(self._storage.folders("projects")):
            if self._closing.is_set():
                return
            self._clean_up_project(project)

    def _clean_up_project(self, project: str) -> None:
        ledger = self._ledger(project)
        for sweep in (
            Files(ledger).sweep,
            partial(idempotency.remove_expired, ledger),
            Deleter(ledger).sweep,
            partial(self._prune, ledger),
        ):
            try:
                sweep()
            except BatchchatError as error:
                _logger.warning(
                    "cleanup of project %s failed, will retry: %s",
                    project,
                    error.message,
                )

    def _prune(self, ledger: Ledger) -> None:
        """Delete the batches that the project's retention no longer keeps."""
        seconds = self._settings.retention_seconds(ledger.project)
        if seconds is None:
            return
        for one in prune(ledger, ledger.now() - seconds):
            if isinstance(one, Kept):
                _logger.info("%s is kept: %s", one.batch_id, one.reason)
            else:
                fields = event_fields("batch_deleted", batch_id=one.batch_id)
                _logger.info("deleted %s", one.batch_id, extra=fields)
            if self._closing.is_set():
                return

    def _run(self) -> None:
        while True:
            try:
                self.clean_up()
            except BatchchatError as error:
                _logger.warning("cleanup failed, will retry: %s", error.message)
            except Exception:
                _logger.exception("cleanup failed, will retry")
            if self._closing.wait(_INTERVAL_SECONDS):
                return
