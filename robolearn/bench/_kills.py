"""A command that is killed at random moments and started again, until it has been killed often enough."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
POLL = 0.002  # s


@dataclass(frozen=True)
class Victim:
    """A command and what must survive its death.

    Attributes:
        words: of `robolearn`, without `out`.
        found: how much of its work is in a folder: finished episodes, or the step of the checkpoint.
        equal: whether a folder holds what another does, which nobody disturbed.
    """

    words: tuple[str, ...]
    found: Callable[[Path], int]
    equal: Callable[[Path, Path], bool]


@dataclass
class Tally:
    """What came of it.

    Attributes:
        kills: times that the command was killed.
        resumed: how many of them the same command went on after, be it to its end or to the next kill.
        lost: episodes, or steps with a checkpoint, that were finished before a kill and gone after it.
        completed: folders that were finished after kills.
        equal: how many of these hold what an undisturbed run wrote.
    """

    kills: int = 0
    resumed: int = 0
    lost: int = 0
    completed: int = 0
    equal: int = 0


@dataclass(frozen=True)
class Life:
    """A process from start to end.

    Attributes:
        status: what it returned; the negative signal where it was killed.
        begun: s until it first wrote to its folder.
        lasted: s.
        said: the end of its output.
    """

    status: int
    begun: float
    lasted: float
    said: str = ""


def torment(victim: Victim, folder: Path, *, kills: int, seed: int, progress: Callable[[str], None]) -> Tally:
    """Kill a command so many times and compare what it finishes with what it writes undisturbed.

    Moments are uniform over the time in which the undisturbed run worked, from its first file to its end. A command
    that ends before its moment has completed its folder; the next one begins anew in another.

    Args:
        victim: the command.
        folder: for its outputs.
        kills: how many.
        seed: of the moments.
        progress: told of every folder.

    Raises:
        RuntimeError: the command fails without having been killed.
    """
    whole = folder / "whole"
    measured = live(victim, whole)
    _require_success(victim, measured)
    rng, tally = np.random.default_rng(seed), Tally()
    folders = 0
    while tally.kills < kills:
        out = folder / f"killed{folders}"
        _one_folder(victim, out, whole, tally, kills=kills, moment=lambda: rng.uniform(measured.begun, measured.lasted))
        progress(f"{victim.words[0]}: {tally}")
        shutil.rmtree(out, ignore_errors=True)
        folders += 1
    return tally


def _one_folder(
    victim: Victim, out: Path, whole: Path, tally: Tally, *, kills: int, moment: Callable[[], float]
) -> None:
    """Work in one folder until it is finished or the command no longer goes on."""
    before = 0
    while True:
        one = live(victim, out, until=moment() if tally.kills < kills else None)
        if one.status not in (0, -signal.SIGKILL):
            if not before:
                _require_success(victim, one)
            return  # it did not resume
        tally.resumed += before
        if one.status == 0:
            tally.completed += bool(before)
            tally.equal += bool(before) and victim.equal(out, whole)
            return
        before = 1
        tally.kills += 1
        tally.lost += max(0, confessed(out) - victim.found(out))


def _require_success(victim: Victim, one: Life) -> None:
    if one.status != 0:
        raise RuntimeError(f"`robolearn {' '.join(victim.words)}` returned {one.status}: {one.said}")


def confessed(out: Path) -> int:
    """The largest number that the command noted when it had finished something."""
    notes = _notes(out)
    lines = notes.read_text().splitlines() if notes.exists() else []
    return max((int(line.split()[1]) for line in lines), default=0)


def live(victim: Victim, out: Path, *, until: float | None = None) -> Life:
    """Start the command and wait for it; kill it after `until` s, unless it has ended."""
    words = [sys.executable, "-m", "robolearn.bench._confessing", str(_notes(out)), *victim.words, f"out={out}"]
    _notes(out).parent.mkdir(parents=True, exist_ok=True)
    with TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            words, stdout=output, stderr=output, env=os.environ | ENVIRONMENT, start_new_session=True
        )
        try:
            begun = _watch(process, out, start=start, until=until)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its workers, which would soon notice and end
            process.wait()
        lasted = time.perf_counter() - start
        output.seek(0)
        said = output.read()[-500:].decode(errors="replace")
    return Life(process.returncode, lasted if begun is None else begun, lasted, said)


def _watch(process: subprocess.Popen[bytes], out: Path, *, start: float, until: float | None) -> float | None:
    """Wait for the end of a process, or kill it at its moment; return when its folder was first there."""
    begun = None
    while process.poll() is None:
        now = time.perf_counter() - start
        if begun is None and out.exists():
            begun = now
        if until is not None and now >= until:
            process.kill()
            process.wait()
            break
        time.sleep(POLL)
    return begun


def _notes(out: Path) -> Path:
    return out.with_name(f"{out.name}.notes")
