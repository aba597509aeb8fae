"""Exit statuses of workers and controllers; `docs/operations.md` lists all of them."""

CANNOT_RUN = 2
"""The configuration is wrong: a restart would not help."""

ENGINE_DEAD = 70
"""EX_SOFTWARE in sysexits.h: the engine died or hangs; start the worker again."""

SWEEPS_ENDED = 70
"""The same for a controller whose sweeps ended."""

BROKER_UNRESPONSIVE = 75
"""EX_TEMPFAIL: the broker delivers no messages; start the worker again."""
