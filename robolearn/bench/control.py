"""The control node under faults: what it does, how soon, and whether a command ever leaves the limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robolearn.bench._control_faults import CASES, run_case
from robolearn.bench._pool import RECORDS, kept, narrow, origin
from robolearn.bench._verbs import trained_bundle
from robolearn.eval.results import Measure, Result, provenance

SUMMARY = "the control node under faults of arm, node, inference and people, through ROS 2 (an hour; resumes)"
SEEDS = tuple(range(20))
OUT = Path("outputs/bench/control")
TASK = "pick_place"
DEMONSTRATIONS = 100
TRAIN = ("policy=flow", "train.steps=2000")


class Run(NamedTuple):
    """A fault, again and again."""

    case: str
    seeds: tuple[int, ...]

    @property
    def record(self) -> Path:
        """Where its result is kept."""
        return RECORDS / "control" / f"{self.case}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        return {"case": self.case, "seeds": list(self.seeds), "task": TASK, "train": list(TRAIN)}

    @property
    def seed(self) -> int:
        """The first one."""
        return self.seeds[0]


def run(
    progress: Callable[[str], None], *, only: Sequence[str] | None = None, seeds: Sequence[int] | None = None
) -> list[Measure]:
    """Let each fault happen once in each of 20 episodes of a simulated arm; finished faults are kept.

    Arm, control node, its inference and an observer are processes of their own. The observer, which shares no code
    with the node's safety filter, judges every command by the robot's limits.

    Args:
        progress: told of every fault.
        only: these faults.
        seeds: of the episodes.

    Raises:
        UserError: an unknown name, or ROS 2 is missing.
    """
    from robolearn.commands.common import save_result

    chosen = SEEDS if seeds is None else tuple(seeds)
    runs = [Run(case, chosen) for case in CASES]
    wanted = narrow("control", runs, ("fault", "case", only), seeds=None, offered=chosen)
    bundle = prepare()
    for i, one in enumerate(wanted):
        if kept(one) is None:
            found = run_case(one.case, bundle, task=TASK, seeds=one.seeds, out=OUT / "faults")
            save_result(one.record, {"settings": one.settings, **origin(), **found})
        progress(f"{i + 1}/{len(wanted)}: {_told(one.case, kept(one) or {})}")
    finished = {one.case: result for one in runs if (result := kept(one)) is not None}
    return [measure for case, result in finished.items() for measure in _measures(case, result)]


def prepare() -> Path:
    """Train and export the policy that moves the arm, unless that is done; return the bundle."""
    return trained_bundle(TASK, TRAIN, num_episodes=DEMONSTRATIONS, out=OUT)


def table(result: Result) -> str:
    """Return a table for the documents: one row for each fault."""
    values = {m.id: m for m in result.measures}
    lines = [
        "| Fault | As expected | Last motion after it, median (largest) | Violations |",
        "|---|---:|---:|---:|",
    ]
    for case in CASES:
        if (expected := values.get(f"expected.{case}")) is None:
            continue
        stopped, violations = values.get(f"stopped_ms.{case}"), values[f"violations.{case}"]
        largest = stopped.interval[1] if stopped is not None and stopped.interval is not None else None
        cell = "" if stopped is None or largest is None else f"{stopped.value:.0f} ms ({largest:.0f} ms)"
        lines.append(f"| `{case}` | {expected.value:.0%} | {cell} | {violations.value:.0f} |")
    return "\n".join(lines) + "\n\n" + provenance(result) + "\n"


def _told(case: str, result: Mapping[str, Any]) -> str:
    states = ", ".join(f"{state} {result['states'].count(state)}" for state in dict.fromkeys(result["states"]))
    times = [ms for ms in result["stopped_ms"] if ms is not None]
    stopped = f"at rest after {np.median(times):.0f} ms (at most {max(times):.0f})" if times else "never at rest"
    return f"{case}: {states}; {stopped}; {result['violations']} violations in {result['commands']} commands"


def _measures(case: str, result: Mapping[str, Any]) -> list[Measure]:
    times = [ms for ms in result["stopped_ms"] if ms is not None]
    count = len(result["states"])
    measures = [
        Measure(f"expected.{case}", result["expected"] / count, "1"),
        Measure(f"went_on.{case}", (count - len(times)) / count, "1"),
        Measure(f"violations.{case}", result["violations"], "1"),
        Measure(f"commands.{case}", result["commands"], "1"),
    ]
    if times:  # the interval is that of what was seen
        stopped = Measure(f"stopped_ms.{case}", float(np.median(times)), "ms", None, (min(times), max(times)))
        measures.insert(0, stopped)
    return measures
