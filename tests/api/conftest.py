"""A server for a test, and one that keeps nothing between tests of what they read."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.api.api_server import Served

Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that end with the test."""
    with ExitStack() as stack:

        def start(*storage: Any, **settings: Any) -> Served:
            return stack.enter_context(closing(Served(*storage, **settings)))

        yield start


@pytest.fixture
def served(serve: Serve) -> Served:
    """A server for one test."""
    return serve()
