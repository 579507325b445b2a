"""What the tests through real ROS 2 have in common."""

import os
from pathlib import Path

import pytest

from robolearn.real.ros2.domain import choose_domain

HERE = Path(__file__).parent


@pytest.fixture
def domain(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return choose_domain()
