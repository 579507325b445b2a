"""Settings and helpers that every test may use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

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
