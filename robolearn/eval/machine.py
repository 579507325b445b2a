"""What a result was measured on: machine and code, without names of hosts, users or folders."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import robolearn

PACKAGES = ("mujoco", "mujoco-warp", "numpy", "torch", "onnxruntime", "lerobot", "ros-jazzy-rclpy", "robosuite")
SOURCE = Path(robolearn.__file__).resolve().parent


def machine() -> dict[str, str]:
    """CPU model, cores, memory, GPU if any, operating system, Python and the packages that figures depend on."""
    facts = {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "gpu": _gpus(),
        "os": _system(),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {key: value for key, value in facts.items() if value}


# what benchmarks write, as git's pathspecs
WRITTEN = (":(top,exclude)benchmarks/results", ":(top,exclude)docs/images")


def commit() -> str:
    """`git describe` of the source checkout ("-dirty" with uncommitted changes), or the installed version.

    What benchmarks write is no change: one follows the other. An installed copy may lie inside somebody else's
    repository: only a checkout that tracks this package counts.
    """
    if _run("git", "-C", str(SOURCE), "ls-files", "--error-unmatch", "__init__.py"):
        described = _run("git", "-C", str(SOURCE), "describe", "--always", "--tags", "--abbrev=10")
        changed = _run("git", "-C", str(SOURCE), "diff", "--name-only", "HEAD", "--", ":(top)", *WRITTEN)
        if described:
            return f"{described}-dirty" if changed else described
    return robolearn.__version__


def _run(*command: str) -> str:
    """Output of a command, empty if it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> str:
    return ", ".join(_run("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines())


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"
