"""Ends the processes that tests start if the tests are killed."""

import os
import signal
from collections.abc import Callable
from functools import partial

from batchchat.workers.process_lifetime import kill_with_parent


def dies_with_tests(number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return what a new process calls first: it gets a signal when this one dies.

    The thread that starts it must live as long as the process.
    """
    return partial(kill_with_parent, os.getpid(), number)
