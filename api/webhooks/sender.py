"""Tells the endpoints of a project that a batch has ended, at least once each."""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

from batchchat.api.context import Service
from batchchat.api.webhooks.safe_post import PostError, post
from batchchat.jobs.access import idempotency as sent
from batchchat.jobs.errors import BatchchatError, NotFoundError, ObjectMissingError
from batchchat.jobs.files.files import Files
from batchchat.jobs.ids import made_at
from batchchat.jobs.ledger.ledger import State
from batchchat.jobs.logs import about
from batchchat.jobs.webhooks.endpoints import Endpoint, Endpoints, Event, event_of
from batchchat.jobs.webhooks.outbox import Letter, Outbox

_logger = logging.getLogger(__name__)

_LOOK = 2.0
_SWEEP = 600.0
_TURN = 60.0
"""Seconds that a project may use a thread before others have it."""

_PROJECTS_AT_ONCE = 8
_LAST_MOMENT = 12.0
_FIRST_WAIT, _LONGEST_WAIT = 5, 6 * 3_600
_GIVEN_UP = 72 * 3_600
"""Seconds after a batch's end for which it is tried, as OpenAI does."""

_CUT_OFF = 3_600
_LEFT_OVER = 86_400
"""Seconds after which half of an upload is nobody's any more."""

_GOOD = range(200, 300)


class Notifier:
    """Works through the outbox in threads; it also removes what is past its time.

    A project has one of the threads at a time, and for a turn only: one whose
    receivers are slow makes nobody wait but itself.
    """

    def __init__(self, service: Service) -> None:
        """Tell the endpoints of all projects."""
        self._service = service
        self._outbox = Outbox(service.storage)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)
        self._pool = ThreadPoolExecutor(_PROJECTS_AT_ONCE, "webhooks")
        self._turns: dict[str, Future[None]] = {}
        self._damaged: set[str] = set()
        self._swept = 0.0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; webhooks that are being sent have a moment to get out."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(_LAST_MOMENT)
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(self._turns.values(), _LAST_MOMENT)

    def look(self) -> list[Future[None]]:
        """Begin to send what is due; return the turns of the projects."""
        letters: dict[str, list[Letter]] = {}
        for letter in self._outbox:
            letters.setdefault(letter.project, []).append(letter)
        self._turns = {p: turn for p, turn in self._turns.items() if not turn.done()}
        for project in letters.keys() - self._turns.keys():
            if self._closing.is_set():
                break
            turn = self._pool.submit(self._take_turn, letters[project])
            self._turns[project] = turn
        return list(self._turns.values())

    def _work(self) -> None:
        while not self._closing.wait(_LOOK):
            for part in (self.look, self._sweep):
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
        if self._service.disk is not None:
            self._service.disk.remove_leftovers(_LEFT_OVER)
        for project in list(self._service.storage.folders("projects")):
            ledger = self._service.ledger(project)
            for sweep in (Files(ledger).sweep, partial(sent.sweep, ledger)):
                try:
                    sweep()
                except BatchchatError as error:
                    _logger.warning("garbage of %s stays: %s", project, error.message)

    def _take_turn(self, letters: list[Letter]) -> None:
        """Work through the letters of a project; the next turn goes on with them."""
        until = time.monotonic() + _TURN
        for letter in letters:
            if self._closing.is_set() or time.monotonic() > until:
                return
            try:
                self._settle(letter)
            except BatchchatError as error:
                if error.retryable:  # so it is with the other letters
                    _logger.warning("webhooks wait: %s", error.message)
                    return
                self._say_damaged(letter, error.message)
            except Exception as error:
                _logger.debug("%s", letter.batch_id, exc_info=True)
                self._say_damaged(letter, repr(error))

    def _say_damaged(self, letter: Letter, why: str) -> None:
        """Log once what every look finds again."""
        if letter.batch_id not in self._damaged:
            self._damaged.add(letter.batch_id)
            _logger.error("nobody can be told of %s: %s", letter.batch_id, why)

    def _settle(self, letter: Letter) -> None:
        if letter.is_wished:
            self._deliver(letter)
        else:
            self._outbox.remove(letter)

    def _deliver(self, letter: Letter) -> None:
        ledger = self._service.ledger(letter.project)
        try:
            state = ledger.state(letter.batch_id)
        except NotFoundError:  # its create was cut off, or is under way
            if ledger.now() - made_at(letter.batch_id) > _CUT_OFF:
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
            endpoint for endpoint in open_ if not self._try(letter, endpoint, event)
        ]
        if not left or ledger.now() - _ended_at(state) > _GIVEN_UP:
            self._outbox.remove(letter)

    def _try(self, letter: Letter, endpoint: Endpoint, event: Event) -> bool:
        """Send the event if it is due; say whether the endpoint needs no more tries."""
        now = self._service.ledger(letter.project).now()
        if self._closing.is_set() or not self._is_due(letter, endpoint, now):
            return False
        if not self._outbox.begin(letter, endpoint.id, now):
            return False
        about_it = about("webhook_sent", batch_id=letter.batch_id, webhook=endpoint.id)
        try:
            status = post(
                endpoint.url,
                event.body,
                event.headers(endpoint, now),
                anywhere=self._service.settings.webhooks_anywhere,
            )
        except PostError as error:
            _logger.warning("%s: %s", endpoint.id, error.message, extra=about_it)
            return False
        _logger.info("%s answered %d", endpoint.id, status, extra=about_it)
        if status in _GOOD:
            self._outbox.end(letter, endpoint.id)
        return status in _GOOD

    def _is_due(self, letter: Letter, endpoint: Endpoint, now: int) -> bool:
        tries = letter.tries.get(endpoint.id, 0)
        if not tries:
            return True
        wait = min(_FIRST_WAIT << min(tries - 1, 20), _LONGEST_WAIT)
        try:
            return now >= self._outbox.last_try(letter, endpoint.id) + wait
        except ObjectMissingError:  # another server has taken the letter out
            return False


def _ended_at(state: State) -> int:
    return (state.final or state.made_plan()).created_at
