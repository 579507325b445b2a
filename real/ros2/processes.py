"""Child processes of a run: started with a clean environment, ended for certain, and swept up after."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from robolearn.errors import UserError
from robolearn.real.realtime import die_with_parent
from robolearn.real.ros2.domain import FIRST_PORT, PORTS_PER_DOMAIN

SHARED_MEMORY = Path("/dev/shm")
PREFIXES = ("fastrtps", "fastdds")  # of FastDDS 2 (Jazzy) and 3 (Kilted)
SEGMENT = rf"/dev/shm/((?:{'|'.join(PREFIXES)})_\w+)"
END_TIMEOUT = 5.0  # s that a process may take to end in an orderly way


class Child:
    """A Python module that runs as a process, its output in a log file."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], *, domain: int, log: Path) -> None:
        """Start `python -m module arguments` in a ROS domain."""
        self.name, self._log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
        environment |= {
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )

    def require_alive(self) -> None:
        """Check that the process runs.

        Raises:
            UserError: with the last line that it said.
        """
        if (status := self.process.poll()) is not None:
            raise UserError(f"the {self.name} ended with status {status}: {self.last_line} (log: {self._log})")

    @property
    def last_line(self) -> str:
        """Last line of the log, without its "error: "."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("error: ") if lines else "it said nothing"

    def end(self) -> None:
        """Ask it to end, then make it end."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)  # a stopped process could not obey
            self.process.terminate()
        try:
            self.process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def shared_memory_of(pids: Iterable[int]) -> set[Path]:
    """FastDDS segments that processes have mapped now."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            maps = Path(f"/proc/{pid}/maps").read_text()
            found |= {SHARED_MEMORY / name for name in re.findall(SEGMENT, maps)}
    return found


def sweep(segments: Iterable[Path], *, domain: int) -> list[Path]:
    """Remove what ended processes left of these segments and of their domain's ports; return what was removed."""
    first = FIRST_PORT + PORTS_PER_DOMAIN * domain
    ports = [f"{prefix}_port{port}" for prefix in PREFIXES for port in range(first, first + PORTS_PER_DOMAIN)]
    private = [path.name for path in segments if "_port" not in path.name]
    removed = []
    for name in (*private, *ports):
        for leftover in (name, f"{name}_el", f"sem.{name}_mutex"):
            path = SHARED_MEMORY / leftover
            if path.exists():
                path.unlink(missing_ok=True)
                removed.append(path)
    return removed
