"""Servers under test, and servers that receive webhooks."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.api.api_server import ApiServer
from tests.api.webhook_receivers import Receiver, SlowReceiver

Serve = Callable[..., ApiServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that end with the test."""
    with ExitStack() as stack:

        def start(*storage: Any, **settings: Any) -> ApiServer:
            return stack.enter_context(closing(ApiServer(*storage, **settings)))

        yield start


@pytest.fixture
def served(serve: Serve) -> ApiServer:
    """A server for one test."""
    return serve()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as receiver:
        yield receiver


@pytest.fixture
def slow_receiver() -> Iterator[SlowReceiver]:
    with closing(SlowReceiver()) as receiver:
        yield receiver
