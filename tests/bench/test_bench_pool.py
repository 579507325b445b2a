"""Runs of benchmarks in processes of their own."""

import subprocess
import sys
import time
from pathlib import Path

from robolearn.bench import _policy_runs as runs
from robolearn.bench._policy_runs import Run
from robolearn.bench._pool import finish_all, origin, seeds_of
from robolearn.eval.machine import machine


def made_up(one):
    return {"settings": one.settings, "commit": "abc", "outcomes": {one.training: [True, False]}}


def test_runs_come_back_from_their_processes(tmp_path, monkeypatch):
    from robolearn.commands.common import save_result

    monkeypatch.chdir(tmp_path)
    chosen = [Run("push", name, 0) for name in ("flow", "flow_moh", "diffusion")]
    for one in chosen:
        save_result(one.record, made_up(one))
    assert dict(finish_all(chosen, runs.finish)) == {one: made_up(one) for one in chosen}


def test_seeds_are_those_of_finished_runs(tmp_path, monkeypatch):
    from robolearn.commands.common import save_result

    monkeypatch.chdir(tmp_path)
    every = [Run("stack", name, seed) for seed in (0, 1, 2) for name in ("flow", "diffusion")]
    for one in (every[5], every[0], every[1]):
        save_result(one.record, made_up(one))
    assert seeds_of(every) == (0, 2)


def test_a_record_tells_its_commit_and_processor():
    told = origin()
    assert set(told) == {"commit", "cpu"}
    assert told["cpu"] == machine()["cpu"] != ""


def test_a_run_ends_with_the_benchmark(tmp_path):
    """Its process must not train on beside the next start of the same command."""
    child = "import os, sys, time; from robolearn.bench._pool import _end_with; _end_with(os.getppid()); "
    child += "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    parent = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', *sys.argv[1:]]); time.sleep(60)"
    note = tmp_path / "pid"
    process = subprocess.Popen([sys.executable, "-c", parent, child, str(note)])
    try:
        wait_until(lambda: note.exists() and note.read_text() != "")
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not is_running(int(note.read_text())))


def wait_until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid):
    """Whether a process is there and is no zombie that nobody has collected."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
