"""Tells the endpoints of a project that a batch has ended, at least once each."""

import logging
import threading
import time

from api.post import PostError, post
from api.service import Service
from jobs.errors import BatchchatError, NotFoundError, ObjectMissingError
from jobs.files import Files
from jobs.ids import made_at
from jobs.ledger import State
from jobs.log import about
from jobs.outbox import Letter, Outbox
from jobs.webhook import Endpoint, Endpoints, Event, event_of

_logger = logging.getLogger(__name__)

_LOOK = 2.0
_SWEEP = 600.0
_FIRST_WAIT, _LONGEST_WAIT = 5, 6 * 3_600
_GIVEN_UP = 72 * 3_600
"""Seconds after a batch's end for which it is tried, as OpenAI does."""

_CUT_OFF = 3_600
_LEFT_OVER = 86_400
"""Seconds after which half of an upload is nobody's any more."""

_GOOD = range(200, 300)


class Notifier:
    """A thread that works through the outbox; it also removes files past their time."""

    def __init__(self, service: Service) -> None:
        """Tell the endpoints of all projects."""
        self._service = service
        self._outbox = Outbox(service.storage)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)
        self._swept = 0.0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, when the webhook that is being sent is out."""
        self._closing.set()
        self._thread.join()

    def look(self) -> None:
        """Send what is due."""
        for letter in list(self._outbox):
            if self._closing.is_set():
                return
            if letter.is_wished:
                self._deliver(letter)
            else:
                self._outbox.remove(letter)

    def _work(self) -> None:
        while not self._closing.wait(_LOOK):
            try:
                self.look()
                self._sweep()
            except BatchchatError as error:
                _logger.warning("webhooks wait: %s", error.message)
            except Exception:
                _logger.exception("webhooks wait")

    def _sweep(self) -> None:
        if time.monotonic() - self._swept < _SWEEP:
            return
        if self._service.disk is not None:
            self._service.disk.remove_leftovers(_LEFT_OVER)
        for project in list(self._service.storage.folders("projects")):
            Files(self._service.ledger(project)).sweep()
        self._swept = time.monotonic()

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
        if not self._is_due(letter, endpoint, now):
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
