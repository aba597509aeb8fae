"""The broker of a single process."""

import time

from batchchat.workers.broker.status_board import STOP_REQUEST_SECONDS
from batchchat.workers.local.in_process_broker import InProcessBroker


def test_a_stop_request_ends_unless_it_is_repeated(monkeypatch):
    broker, began = InProcessBroker(), time.monotonic()
    broker.request_stop("batch_1", 2.5)
    broker.request_stop("batch_2", 0.0)
    assert broker.stop_requests(["batch_1", "batch_3"]) == {"batch_1": 2.5}
    monkeypatch.setattr(time, "monotonic", lambda: began + STOP_REQUEST_SECONDS / 2)
    broker.request_stop("batch_2", 0.0)
    monkeypatch.setattr(time, "monotonic", lambda: began + STOP_REQUEST_SECONDS + 1)
    assert broker.stop_requests(["batch_1", "batch_2"]) == {"batch_2": 0.0}
