"""How punctual the control node is, idle and beside a full load, next to a node that commands from an rclpy timer."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from robolearn.bench._control_rig import simulated_session
from robolearn.bench._pool import RECORDS, kept, narrow, origin
from robolearn.bench.control import TASK, prepare
from robolearn.eval.results import Measure, Result, provenance

SUMMARY = "lateness of the control node at 100, 250 and 500 Hz, idle and loaded (a quarter of an hour; resumes)"
RATES = (100, 250, 500)
LOADS = ("idle", "loaded")
SIDES = ("node", "timer", "thread")
SECONDS = 60.0
SEEDS = (0,)  # of the episode
OUT = Path("outputs/bench/punctuality")
FIGURES = ("p50", "p99", "max")


class Run(NamedTuple):
    """One side at a rate and a load."""

    rate: int
    load: str
    side: str
    seconds: float

    @property
    def record(self) -> Path:
        """Where its result is kept."""
        return RECORDS / "punctuality" / f"{self.rate}-{self.load}-{self.side}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        return {"rate": self.rate, "load": self.load, "side": self.side, "seconds": self.seconds, "task": TASK}

    @property
    def seed(self) -> int:
        """Of the episode."""
        return SEEDS[0]


def run(
    progress: Callable[[str], None],
    *,
    rates: Sequence[int] = RATES,
    loads: Sequence[str] | None = None,
    seconds: float = SECONDS,
) -> list[Measure]:
    """Let the node and the timer command in turn for a while each; finished ones are kept.

    The node runs a policy on a simulated arm, with its inference and the arm as further processes. The timer is a node
    with one timer, which publishes commands of zeros while another arm publishes joint states that it listens to. The
    thread does nothing but sleep until each period's time, of the node's real-time class: what the machine allows.
    Lateness is that of a period's begin to its time on a fixed grid; a period more than one late is missed. Loaded
    means as many ordinary processes that never wait as there are cores.

    Args:
        progress: told of every run.
        rates: control periods per second.
        loads: of `idle` and `loaded`.
        seconds: of each run.

    Raises:
        UserError: an unknown load, or ROS 2 is missing.
    """
    from robolearn.commands.common import save_result

    runs = [Run(rate, load, side, seconds) for rate in rates for load in LOADS for side in SIDES]
    wanted = narrow("punctuality", runs, ("load", "load", loads), seeds=None, offered=SEEDS)
    bundle = prepare()
    for one in wanted:
        if kept(one) is None:
            with busy(os.cpu_count() or 1 if one.load == "loaded" else 0):
                found = {"node": _node, "timer": _timer, "thread": _thread}[one.side](one, bundle)
            save_result(one.record, {"settings": one.settings, **origin(), **found})
        progress(_told(one, kept(one) or {}))
    finished = {one: result for one in runs if (result := kept(one)) is not None}
    measures = [measure for one, result in finished.items() for measure in _measures(one, result)]
    if fifo := [float(result["fifo"]) for result in finished.values() if "fifo" in result]:
        measures.append(Measure("fifo_share", sum(fifo) / len(fifo), "1"))
    return measures


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Have this many processes that never wait."""
    context = multiprocessing.get_context("spawn")
    idlers = [context.Process(target=_never_wait, daemon=True) for _ in range(count)]
    for process in idlers:
        process.start()
    try:
        yield
    finally:
        for process in idlers:
            process.kill()
            process.join()


def _never_wait() -> None:
    while True:
        pass


def _node(one: Run, bundle: Path) -> dict[str, Any]:
    """What the control node says of itself."""
    from robolearn.real.settings import Settings
    from robolearn.real.statistics import summarise

    session = simulated_session(bundle, task=TASK, out=OUT / one.record.stem, settings=Settings(rate=one.rate))
    with session:
        loop = session.keep_on(one.seed, seconds=one.seconds)
    return {"summary": summarise([loop])}


def _timer(one: Run, bundle: Path) -> dict[str, Any]:
    """What the timer's node says, beside a simulated arm."""
    import numpy as np

    from robolearn.real.ros2.domain import choose_domain
    from robolearn.real.ros2.processes import Child
    from robolearn.real.statistics import percentiles

    out, domain = OUT / one.record.stem, choose_domain(None)
    words = {"--plant": "robolearn.sim.ros_arm", "--task": TASK, "--robot": "panda", "--rate": one.rate}
    arm = Child("arm", "robolearn.real.ros2.simulated_arm", _flat(words), domain=domain, log=out / "arm.txt")
    words = {"--rate": one.rate, "--seconds": one.seconds, "--joints": 8, "--out": out / "found.json"}
    timer = Child("timer", "robolearn.bench._rclpy_timer", _flat(words), domain=domain, log=out / "timer.txt")
    try:
        if timer.process.wait(one.seconds + 60.0):
            timer.require_alive()
        arm.require_alive()
    finally:
        timer.end()
        arm.end()
    found = json.loads((out / "found.json").read_text())
    summary = {"periods": len(found["lateness_ms"]), "missed_periods": found["missed_periods"]}
    return {"summary": {**summary, "lateness_ms": percentiles(np.array(found["lateness_ms"]))}}


def _flat(words: Mapping[str, Any]) -> list[str]:
    return [str(text) for pair in words.items() for text in pair]


def _thread(one: Run, bundle: Path) -> dict[str, Any]:
    """What a thread finds that only sleeps."""
    import numpy as np

    from robolearn.real.control_loop import PRIORITY
    from robolearn.real.realtime import sleep_until, use_fifo
    from robolearn.real.statistics import percentiles

    late: list[float] = []
    fifo: list[bool] = []
    missed, period = 0, 1.0 / one.rate

    def sleep() -> None:
        nonlocal missed
        fifo.append(use_fifo(PRIORITY))
        deadline = time.monotonic()
        end = deadline + one.seconds
        while deadline < end:
            deadline += period
            late.append(sleep_until(deadline))
            skipped = int(late[-1] / period)
            missed, deadline = missed + skipped, deadline + skipped * period

    thread = threading.Thread(target=sleep)
    thread.start()
    thread.join()
    summary = {"periods": len(late), "missed_periods": missed, "lateness_ms": percentiles(1e3 * np.array(late))}
    return {"summary": summary, "fifo": fifo[0]}


def table(result: Result) -> str:
    """Return a table for the documents: one row for each rate and load."""
    values = {m.id: m for m in result.measures}
    lines = [
        "| Rate, load | Node: p50, p99, max | missed | rclpy timer | missed | Thread that only sleeps | missed |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for rate, load in ((rate, load) for rate in RATES for load in LOADS):
        cells = []
        for side in SIDES:
            late = [values.get(f"lateness_ms.{side}.{rate}.{load}.{figure}") for figure in FIGURES]
            missed = values.get(f"missed_share.{side}.{rate}.{load}")
            cells.append(", ".join(f"{m.value:.3f}" for m in late if m is not None) + " ms" if all(late) else "")
            cells.append("" if missed is None else f"{missed.value:.2%}")
        if any(cells):
            lines.append(f"| {rate} Hz, {load} | {' | '.join(cells)} |")
    fifo = values.get("fifo_share")
    told = "" if fifo is None else f"\nSCHED_FIFO was permitted in {fifo.value:.0%} of the thread's runs.\n"
    return "\n".join(lines) + "\n" + told + "\n" + provenance(result) + "\n"


def _told(one: Run, result: Mapping[str, Any]) -> str:
    summary = result["summary"]
    late = summary["lateness_ms"]
    figures = ", ".join(f"{figure} {late[figure]:.3f}" for figure in FIGURES)
    return (
        f"{one.rate} Hz, {one.load}, {one.side}: late by {figures} ms; "
        f"{summary['missed_periods']} of {summary['periods'] + summary['missed_periods']} periods missed"
    )


def _measures(one: Run, result: Mapping[str, Any]) -> Iterator[Measure]:
    summary, name = result["summary"], f"{one.side}.{one.rate}.{one.load}"
    for figure in FIGURES:
        yield Measure(f"lateness_ms.{name}.{figure}", summary["lateness_ms"][figure], "ms")
    missed = summary["missed_periods"]
    yield Measure(f"missed_share.{name}", missed / max(summary["periods"] + missed, 1), "1")
    if "holds" in summary:
        yield Measure(f"holds.{name}", summary["holds"], "1")
        yield Measure(f"latency_ms.{name}.p50", summary["latency_ms"]["p50"], "ms")
        yield Measure(f"latency_ms.{name}.p99", summary["latency_ms"]["p99"], "ms")
