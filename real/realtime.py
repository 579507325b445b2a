"""What Linux offers to a loop that must be on time; each part is best effort and says whether it worked."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LOCK_CURRENT, LOCK_FUTURE = 1, 2  # mlockall's flags
SWITCH_INTERVAL = 0.0002  # s after which a waiting thread asks for Python's lock; the default is 5 ms


def use_fifo(priority: int) -> bool:
    """Give the calling thread the real-time class SCHED_FIFO; needs CAP_SYS_NICE or an rtprio limit."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except (OSError, AttributeError):
        return False
    return True


def use_ordinary() -> None:
    """Give the calling thread the ordinary class again: it is inherited by threads and processes."""
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def lock_memory() -> bool:
    """Keep the process's pages in memory; needs CAP_IPC_LOCK or a large memlock limit."""
    return ctypes.CDLL(None, use_errno=True).mlockall(LOCK_CURRENT | LOCK_FUTURE) == 0


@contextmanager
def undisturbed() -> Iterator[None]:
    """Switch threads quickly and spare the garbage collector what exists already; restored at the end.

    Collect garbage before: what is frozen stays.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.freeze()
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()
        gc.enable()


def collect_garbage(allowed: bool) -> None:
    """Switch automatic collection, which stops all threads for milliseconds."""
    if allowed:
        gc.enable()
    else:
        gc.disable()


def sleep_until(deadline: float) -> float:
    """Sleep until `time.monotonic()` reaches `deadline`; return how late it is in s."""
    # sleeps again after an early wake-up
    while (rest := deadline - time.monotonic()) > 0:
        time.sleep(rest)
    return -rest


def die_with_parent() -> None:
    """Ask the kernel to send SIGTERM to this process when its parent ends, however it ends."""
    pr_set_pdeathsig, sigterm = 1, 15
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, sigterm)
