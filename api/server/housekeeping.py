"""Periodically deletes expired files, abandoned uploads and old idempotency records."""

import logging
import threading
from functools import partial

from batchchat.api.context import AppContext
from batchchat.jobs.access import idempotency
from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.files.files import Files

_logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 600.0
_PARTIAL_FILE_SECONDS = 86_400
"""Age at which a partially written local file counts as left by a killed process."""

_SHUTDOWN_SECONDS = 12.0


class Housekeeping:
    """Cleans up the storage of all projects in a background thread.

    Every deletion is safe to repeat, so several servers may do it at the same time and
    a killed one leaves the rest to the next run.
    """

    def __init__(self, context: AppContext) -> None:
        """Prepare to clean up the storage of `context`; `start` begins."""
        self._context = context
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
        if self._context.local_storage is not None:
            self._context.local_storage.remove_leftovers(_PARTIAL_FILE_SECONDS)
        for project in list(self._context.storage.folders("projects")):
            if self._closing.is_set():
                return
            self._clean_up_project(project)

    def _clean_up_project(self, project: str) -> None:
        ledger = self._context.ledger(project)
        for sweep in (Files(ledger).sweep, partial(idempotency.remove_expired, ledger)):
            try:
                sweep()
            except BatchchatError as error:
                _logger.warning(
                    "cleanup of project %s failed, will retry: %s",
                    project,
                    error.message,
                )

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
