"""Binds the lifetime of a process to that of its parent (Linux only)."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def kill_with_parent(parent: int | None, number: int = signal.SIGKILL) -> None:
    """Have the kernel send signal `number` to this process when its parent exits.

    `parent` is the process id of the parent. The kernel acts when the thread that
    started this process ends, so that thread must live as long as its process.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # the parent exited before the call above
        os.kill(os.getpid(), number)
