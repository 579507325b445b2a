"""ROS 2's Python client: present, absent or damaged, and what to do about it."""

from __future__ import annotations

import csv
import importlib
import os
from importlib import metadata
from pathlib import Path

from robolearn.errors import UserError

MODULES = (
    "rclpy.lifecycle",
    "diagnostic_msgs.msg",
    "geometry_msgs.msg",
    "sensor_msgs.msg",
    "std_msgs.msg",
    "std_srvs.srv",
    "trajectory_msgs.msg",
)
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
ABSENT = (
    "ROS 2's Python client (rclpy) is not installed: run with `uv run` (it installs the extra `ros`, x86-64 only), "
    "or source a ROS 2 Jazzy installation: `source /opt/ros/jazzy/setup.bash`"
)


def require_rclpy() -> None:
    """Make sure that rclpy and the messages used here can be imported, before anything that needs them is.

    Raises:
        UserError: with the command that mends it.
    """
    try:
        for module in MODULES:
            importlib.import_module(module)
    except ImportError as error:
        if not damaged_wheels():
            raise UserError(f"{ABSENT} ({error})") from error
        raise UserError(
            "the ROS 2 packages are damaged, as `uv sync` without --inexact leaves them (they carry a second record of "
            "themselves, which it removes together with the files): run `uv sync --inexact --reinstall`"
        ) from error


def keep_to_this_machine() -> None:
    """Let nodes that this process and its children make look for partners on this machine alone: for simulations.

    What the environment says counts more.
    """
    os.environ.setdefault(RANGE, "LOCALHOST")


def discovery_range() -> str:
    """Where this process's nodes look for partners; ROS 2's own default where the environment says nothing."""
    return os.environ.get(RANGE) or "SUBNET"


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Command line up to `--ros-args`, and from there on, which is what launch files add."""
    at = arguments.index("--ros-args") if "--ros-args" in arguments else len(arguments)
    return arguments[:at], arguments[at:]


def damaged_wheels() -> list[str]:
    """Names of installed `ros-*` distributions of which Python files are missing."""
    damaged = set()
    for distribution in metadata.distributions():
        name = distribution.name
        if not name.startswith("ros-"):
            continue
        # the raw record: `files` leaves out what does not exist
        rows = csv.reader((distribution.read_text("RECORD") or "").splitlines())
        sources = [row[0] for row in rows if row[0].endswith(".py") and not row[0].startswith("..")]
        if any(not Path(str(distribution.locate_file(file))).exists() for file in sources):
            damaged.add(name)
    return sorted(damaged)
