"""Delivers the events of ended batches to webhook endpoints, at least once each."""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait

from batchchat.api.context import AppContext
from batchchat.api.webhooks.safe_post import WebhookError, safe_post
from batchchat.jobs.errors import BatchchatError, NotFoundError
from batchchat.jobs.ids import id_created_at
from batchchat.jobs.ledger.state import State
from batchchat.jobs.logs import event_fields
from batchchat.jobs.webhooks.endpoints import Endpoint, EndpointStore
from batchchat.jobs.webhooks.events import Event, batch_event
from batchchat.jobs.webhooks.outbox import Outbox, PendingEvent

_logger = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
_PROJECT_SLICE_SECONDS = 60.0
"""How long a project may occupy a thread before other projects get it."""

_MAX_CONCURRENT_PROJECTS = 8
_SHUTDOWN_SECONDS = 12.0
_GIVE_UP_SECONDS = 72 * 3_600
"""How long after a batch has ended its event is retried, as OpenAI does."""

_ORPHAN_SECONDS = 3_600
"""Age at which an event whose batch does not exist is dropped."""

_SUCCESS = range(200, 300)


class WebhookSender:
    """Processes the outbox in threads.

    Each project uses at most one thread, for a limited time, so slow receivers delay
    only the events of their own project.
    """

    def __init__(self, context: AppContext) -> None:
        """Prepare to deliver the events of all projects; `start` begins."""
        self._context = context
        self._outbox = Outbox(context.storage)
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="webhook_sender", daemon=True
        )
        self._pool = ThreadPoolExecutor(_MAX_CONCURRENT_PROJECTS, "webhooks")
        self._slices: dict[str, Future[None]] = {}
        self._logged_corrupt: set[str] = set()

    def start(self) -> None:
        """Start polling the outbox in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop, waiting a few seconds for webhooks that are being sent."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(_SHUTDOWN_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(self._slices.values(), _SHUTDOWN_SECONDS)

    def send_due(self) -> list[Future[None]]:
        """Start sending due events; return the running work, one future a project."""
        by_project: dict[str, list[PendingEvent]] = {}
        for pending in self._outbox:
            by_project.setdefault(pending.project, []).append(pending)
        self._slices = {
            project: slice_
            for project, slice_ in self._slices.items()
            if not slice_.done()
        }
        for project in by_project.keys() - self._slices.keys():
            if self._closing.is_set():
                break
            slice_ = self._pool.submit(self._process_project, by_project[project])
            self._slices[project] = slice_
        return list(self._slices.values())

    def _run(self) -> None:
        while not self._closing.wait(_POLL_SECONDS):
            try:
                self.send_due()
            except BatchchatError as error:
                _log_postponed(error)
            except Exception:
                _logger.exception("webhook delivery failed, will retry")

    def _process_project(self, events: list[PendingEvent]) -> None:
        """Deliver a project's events until its time slice is over."""
        until = time.monotonic() + _PROJECT_SLICE_SECONDS
        for pending in events:
            if self._closing.is_set() or time.monotonic() > until:
                return
            try:
                self._process_event(pending)
            except BatchchatError as error:
                if error.retryable:  # the storage would fail for the other events, too
                    _log_postponed(error)
                    return
                self._log_corrupt_once(pending, error.message)
            except Exception as error:
                _logger.debug("%s", pending.batch_id, exc_info=True)
                self._log_corrupt_once(pending, repr(error))

    def _log_corrupt_once(self, pending: PendingEvent, why: str) -> None:
        """Log a corrupt event once, although every poll finds it again."""
        if pending.batch_id not in self._logged_corrupt:
            self._logged_corrupt.add(pending.batch_id)
            _logger.error("cannot deliver webhooks for %s: %s", pending.batch_id, why)

    def _process_event(self, pending: PendingEvent) -> None:
        if pending.is_pending:
            self._deliver(pending)
        else:
            self._outbox.remove(pending)

    def _deliver(self, pending: PendingEvent) -> None:
        ledger = self._context.ledger(pending.project)
        try:
            state = ledger.state(pending.batch_id)
        except NotFoundError:  # its creation is in progress, or was interrupted
            if ledger.now() - id_created_at(pending.batch_id) > _ORPHAN_SECONDS:
                self._outbox.remove(pending)
            return
        if not state.is_terminal:
            return
        event = batch_event(state, ledger.now())
        interested = [
            endpoint
            for endpoint in EndpointStore(ledger)
            if event.type in endpoint.event_types and endpoint.id not in pending.done
        ]
        undelivered = [
            endpoint
            for endpoint in interested
            if not self._attempt_delivery(pending, endpoint, event)
        ]
        if not undelivered or ledger.now() - _ended_at(state) > _GIVE_UP_SECONDS:
            self._outbox.remove(pending)

    def _attempt_delivery(
        self, pending: PendingEvent, endpoint: Endpoint, event: Event
    ) -> bool:
        """Send the event if it is due; return whether it was delivered."""
        now = self._context.ledger(pending.project).now()
        if self._closing.is_set() or not self._outbox.is_due(pending, endpoint.id, now):
            return False
        if not self._outbox.record_attempt(pending, endpoint.id, now):
            return False
        fields = event_fields(
            "webhook_sent", batch_id=pending.batch_id, webhook=endpoint.id
        )
        try:
            status = safe_post(
                endpoint.url,
                event.body,
                event.headers(endpoint, now),
                allow_private=self._context.settings.webhooks_allow_private,
            )
        except WebhookError as error:
            _logger.warning("%s: %s", endpoint.id, error.message, extra=fields)
            return False
        _logger.info("%s answered %d", endpoint.id, status, extra=fields)
        if status in _SUCCESS:
            self._outbox.mark_delivered(pending, endpoint.id)
        return status in _SUCCESS


def _log_postponed(error: BatchchatError) -> None:
    _logger.warning("webhook delivery postponed: %s", error.message)


def _ended_at(state: State) -> int:
    return (state.final or state.require_plan()).created_at
