"""Settings and helpers that every test may use."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

# before NumPy or torch start their threads: tests run beside each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("robolearn", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("robolearn")


@pytest.fixture
def robolearn() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the command line in a process of its own."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "robolearn", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(autouse=True)
def ordinary() -> Iterator[None]:
    """Take the process back out of a real-time class, in which it would keep all others from the cores.

    Of those who run as root, `use_fifo` puts it there where a test does not patch it, and so does SVT-AV1's encoder.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    if os.sched_getscheduler(0) != before[0]:
        os.sched_setscheduler(0, *before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Of tests on several cores, let one marked `alone` begin when no other runs, and the others when it has ended."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    folder = item.config.rootpath / ".pytest_cache"
    folder.mkdir(exist_ok=True)
    alone = item.get_closest_marker("alone") is not None
    with ExitStack() as stack:
        # who waits to be alone keeps the door, or the others, who share the room, would go in again before him
        with locked(folder / "door", fcntl.LOCK_EX):
            stack.enter_context(locked(folder / "room", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        return (yield)


@contextmanager
def locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, kind)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing would not do while a forked process has the file too
