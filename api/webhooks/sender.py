"""Tells the endpoints of a project that a batch has ended, at least once each."""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

from batchchat.api.context import AppContext
from batchchat.api.webhooks.safe_post import WebhookError, safe_post
from batchchat.jobs.access import idempotency as sent
from batchchat.jobs.errors import BatchchatError, NotFoundError, ObjectMissingError
from batchchat.jobs.files.files import Files
from batchchat.jobs.ids import made_at
from batchchat.jobs.ledger.ledger import State
from batchchat.jobs.logs import about
from batchchat.jobs.webhooks.endpoints import Endpoint, Endpoints, Event, event_of
from batchchat.jobs.webhooks.outbox import Letter, Outbox

_logger = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
_SWEEP = 600.0
_PROJECT_SLICE_SECONDS = 60.0
"""Seconds that a project may use a thread before others have it."""

_MAX_CONCURRENT_PROJECTS = 8
_SHUTDOWN_SECONDS = 12.0
_FIRST_RETRY_SECONDS, _MAX_RETRY_SECONDS = 5, 6 * 3_600
_GIVE_UP_SECONDS = 72 * 3_600
"""Seconds after a batch's end for which it is tried, as OpenAI does."""

_ORPHAN_SECONDS = 3_600
_LEFT_OVER = 86_400
"""Seconds after which half of an upload is nobody's any more."""

_SUCCESS = range(200, 300)


class WebhookSender:
    """Works through the outbox in threads; it also removes what is past its time.

    A project has one of the threads at a time, and for a turn only: one whose
    receivers are slow makes nobody wait but itself.
    """

    def __init__(self, context: AppContext) -> None:
        """Tell the endpoints of all projects."""
        self._context = context
        self._outbox = Outbox(context.storage)
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="webhook_sender", daemon=True
        )
        self._pool = ThreadPoolExecutor(_MAX_CONCURRENT_PROJECTS, "webhooks")
        self._running: dict[str, Future[None]] = {}
        self._logged_corrupt: set[str] = set()
        self._swept = 0.0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; webhooks that are being sent have a moment to get out."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(_SHUTDOWN_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(self._running.values(), _SHUTDOWN_SECONDS)

    def send_due(self) -> list[Future[None]]:
        """Begin to send what is due; return the turns of the projects."""
        letters: dict[str, list[Letter]] = {}
        for letter in self._outbox:
            letters.setdefault(letter.project, []).append(letter)
        self._running = {
            p: turn for p, turn in self._running.items() if not turn.done()
        }
        for project in letters.keys() - self._running.keys():
            if self._closing.is_set():
                break
            turn = self._pool.submit(self._process_project, letters[project])
            self._running[project] = turn
        return list(self._running.values())

    def _run(self) -> None:
        while not self._closing.wait(_POLL_SECONDS):
            for part in (self.send_due, self._sweep):
                try:
                    part()
                except BatchchatError as error:
                    _logger.warning("webhooks wait: %s", error.message)
                except Exception:
                    _logger.exception("webhooks wait")

    def _sweep(self) -> None:
        if time.monotonic() - self._swept < _SWEEP:
            return
        self._swept = time.monotonic()
        if self._context.local_storage is not None:
            self._context.local_storage.remove_leftovers(_LEFT_OVER)
        for project in list(self._context.storage.folders("projects")):
            ledger = self._context.ledger(project)
            for sweep in (Files(ledger).sweep, partial(sent.sweep, ledger)):
                try:
                    sweep()
                except BatchchatError as error:
                    _logger.warning("garbage of %s stays: %s", project, error.message)

    def _process_project(self, letters: list[Letter]) -> None:
        """Work through the letters of a project; the next turn goes on with them."""
        until = time.monotonic() + _PROJECT_SLICE_SECONDS
        for letter in letters:
            if self._closing.is_set() or time.monotonic() > until:
                return
            try:
                self._process_event(letter)
            except BatchchatError as error:
                if error.retryable:  # so it is with the other letters
                    _logger.warning("webhooks wait: %s", error.message)
                    return
                self._log_corrupt_once(letter, error.message)
            except Exception as error:
                _logger.debug("%s", letter.batch_id, exc_info=True)
                self._log_corrupt_once(letter, repr(error))

    def _log_corrupt_once(self, letter: Letter, why: str) -> None:
        """Log a corrupt event once, although every poll finds it again."""
        if letter.batch_id not in self._logged_corrupt:
            self._logged_corrupt.add(letter.batch_id)
            _logger.error("nobody can be told of %s: %s", letter.batch_id, why)

    def _process_event(self, letter: Letter) -> None:
        if letter.is_wished:
            self._deliver(letter)
        else:
            self._outbox.remove(letter)

    def _deliver(self, letter: Letter) -> None:
        ledger = self._context.ledger(letter.project)
        try:
            state = ledger.state(letter.batch_id)
        except NotFoundError:  # its create was cut off, or is under way
            if ledger.now() - made_at(letter.batch_id) > _ORPHAN_SECONDS:
                self._outbox.remove(letter)
            return
        if not state.is_terminal:
            return
        event = event_of(state, ledger.now())
        open_ = [
            endpoint
            for endpoint in Endpoints(ledger)
            if event.type in endpoint.event_types and endpoint.id not in letter.done
        ]
        left = [
            endpoint
            for endpoint in open_
            if not self._attempt_delivery(letter, endpoint, event)
        ]
        if not left or ledger.now() - _ended_at(state) > _GIVE_UP_SECONDS:
            self._outbox.remove(letter)

    def _attempt_delivery(
        self, letter: Letter, endpoint: Endpoint, event: Event
    ) -> bool:
        """Send the event if it is due; say whether the endpoint needs no more tries."""
        now = self._context.ledger(letter.project).now()
        if self._closing.is_set() or not self._is_due(letter, endpoint, now):
            return False
        if not self._outbox.begin(letter, endpoint.id, now):
            return False
        about_it = about("webhook_sent", batch_id=letter.batch_id, webhook=endpoint.id)
        try:
            status = safe_post(
                endpoint.url,
                event.body,
                event.headers(endpoint, now),
                allow_private=self._context.settings.webhooks_anywhere,
            )
        except WebhookError as error:
            _logger.warning("%s: %s", endpoint.id, error.message, extra=about_it)
            return False
        _logger.info("%s answered %d", endpoint.id, status, extra=about_it)
        if status in _SUCCESS:
            self._outbox.end(letter, endpoint.id)
        return status in _SUCCESS

    def _is_due(self, letter: Letter, endpoint: Endpoint, now: int) -> bool:
        tries = letter.tries.get(endpoint.id, 0)
        if not tries:
            return True
        wait = min(_FIRST_RETRY_SECONDS << min(tries - 1, 20), _MAX_RETRY_SECONDS)
        try:
            return now >= self._outbox.last_try(letter, endpoint.id) + wait
        except ObjectMissingError:  # another server has taken the letter out
            return False


def _ended_at(state: State) -> int:
    return (state.final or state.made_plan()).created_at
