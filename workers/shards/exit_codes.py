"""Exit statuses of a worker process, taken from sysexits.h."""

ENGINE_DEAD = 70
"""EX_SOFTWARE: the engine died or hangs; start the worker again."""

BROKER_UNRESPONSIVE = 75
"""EX_TEMPFAIL: the broker delivers no messages; start the worker again."""
