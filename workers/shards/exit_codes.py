"""What a worker's exit status says to whoever started it."""

ENGINE_DEAD = 70
"""The engine died or hangs: start the worker again (EX_SOFTWARE of sysexits.h)."""

BROKER_UNRESPONSIVE = 75
"""The broker says nothing: start the worker again (EX_TEMPFAIL of sysexits.h)."""
