"""Faults of arm, node, inference and people while a policy moves an arm: what happened, how soon, within limits?"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from robolearn.bench._control_bundles import (
    Change,
    become_nan,
    derived,
    dive,
    explode,
    look,
    lose_half,
    suit_another_robot,
)
from robolearn.bench._control_rig import GONE, Rig, stopped_after
from robolearn.errors import UserError

WATCH = 1.5  # s that are watched after a fault
TELLING = 0.7  # s before the end of that from which on the node's word counts: most watchdogs need at most 0.5 s
SECONDS = 60.0  # that a driver's fault lasts unless it is ended
EFFORT = 1000.0  # N m, no motor's
REFUSED = "refused"  # state of a node that does not even start


@dataclass(frozen=True)
class Case:
    """A fault.

    Attributes:
        begin: makes it happen.
        end: makes it stop, before the next one; None where what was killed has to be started anew.
        expected: states in which the node may be during it.
        change: made to the bundle before.
        moving: whether the arm moves before it.
        watch: s that are watched after it.
        believed: whether the changed bundle has the checksums that its manifest lists.
        safety: the node's options.
    """

    begin: Callable[[Rig], object]
    end: Callable[[Rig], object] | None
    expected: tuple[str, ...]
    change: Change | None = None
    moving: bool = True
    watch: float = WATCH
    believed: bool = True
    safety: Mapping[str, Any] = field(default_factory=dict)


class Trial(NamedTuple):
    """When a fault began, monotonic, s, and what the node told of it."""

    begun: float
    state: str
    reason: str


def _killed(name: str, *expected: str) -> Case:
    return Case(lambda rig: rig.signal(name, signal.SIGKILL), None, expected)


def _halted(name: str, *expected: str) -> Case:
    return Case(lambda rig: rig.signal(name, signal.SIGSTOP), lambda rig: rig.signal(name, signal.SIGCONT), expected)


def _broken(kind: str, *expected: str, **more: Any) -> Case:
    return Case(lambda rig: rig.fault(kind, SECONDS), lambda rig: rig.fault(kind, 0.0), expected, **more)


def _policy(change: Change, *expected: str) -> Case:
    return Case(_nothing, _nothing, expected, change, moving=False)


def _nothing(rig: Rig) -> None:
    """It has happened before."""


CASES: dict[str, Case] = {
    "arm_killed": _killed("arm", "hold"),
    "arm_halted": _halted("arm", "hold"),
    "inference_killed": _killed("inference", "fault"),
    "inference_halted": _halted("inference", "hold"),
    "node_killed": _killed("control node", GONE),
    "node_halted": _halted("control node", GONE),
    "joints_silent": _broken("silent", "hold"),
    "joints_frozen": _broken("frozen", "hold"),
    "joints_stuck": _broken("stuck", "hold", "fault"),
    "joints_nan": _broken("nan", "hold", "fault"),
    "joints_swapped": _broken("swapped", "hold", "fault"),
    "joints_jump": _broken("jump", "hold", "fault"),
    "clock_jump": _broken("clock", "hold", "fault"),
    "objects_lost": _broken("lost", "hold"),
    "arm_deaf": _broken("deaf", "hold", "fault", watch=3.0),  # until it is far enough from its commands
    "arm_pushed": _broken("push", "fault", safety={"effort_limits": (EFFORT,)}),
    "camera_dark": _broken("blind", "hold", change=look),
    "second_publisher": Case(lambda rig: rig.intrude(), lambda rig: rig.withdraw(), ("fault",)),
    "emergency_stop": Case(lambda rig: rig.press("estop"), lambda rig: rig.press("reset_estop"), ("estop",)),
    "policy_explodes": _policy(explode, "active", "hold", "fault"),
    "policy_nan": _policy(become_nan, "hold", "fault"),
    "policy_dives": _policy(dive, "active", "hold", "fault"),
    "bundle_wrong": Case(_nothing, None, (REFUSED,), suit_another_robot),
    "bundle_truncated": Case(_nothing, None, (REFUSED,), lose_half, believed=False),
}


def run_case(name: str, bundle: Path, *, task: str, seeds: Sequence[int], out: Path) -> dict[str, Any]:
    """Let a fault happen in the episode of each seed, while a bundle's policy moves the arm.

    Returns:
        "stopped_ms" of each time, from the fault to the last command that moved, None where the arm moved on; "states"
        and "reasons" that the node told; "expected", how often the state was one of the expected; "violations" and
        "first_violation" of all commands, as the observer judges; "commands", how many it saw.
    """
    found: dict[str, Any] = {"stopped_ms": [], "states": [], "reasons": [], "violations": 0, "first_violation": None}
    found["commands"] = 0
    case = CASES[name]
    if case.change is not None:
        bundle = derived(bundle, out / f"{name}-bundle", case.change, hashed=case.believed)
    for some in [[seed] for seed in seeds] if case.end is None else [list(seeds)]:
        rig = Rig(bundle, task=task, out=out / f"{name}-{some[0]}", safety=case.safety)
        for trial in _refusal(rig) if REFUSED in case.expected else _watched(case, rig, seeds=some):
            until = trial.begun + case.watch
            after = stopped_after(rig.times, rig.commands, since=trial.begun, until=until)
            found["stopped_ms"].append(None if after == float("inf") else round(1e3 * after, 1))
            found["states"].append(trial.state)
            found["reasons"].append(trial.reason)
        found["violations"] += rig.findings["total"]
        found["commands"] += rig.findings["commands"]
        found["first_violation"] = found["first_violation"] or rig.findings["first_violation"]
    found["expected"] = sum(state in case.expected for state in found["states"])
    return found


def _refusal(rig: Rig) -> list[Trial]:
    """What comes of an attempt to start."""
    begun = time.monotonic()
    try:
        with rig:
            return [Trial(begun, "started", "")]
    except UserError as error:
        return [Trial(begun, REFUSED, str(error))]


def _watched(case: Case, rig: Rig, *, seeds: Sequence[int]) -> list[Trial]:
    with rig:
        return list(_trials(case, rig, seeds=seeds))


def _trials(case: Case, rig: Rig, *, seeds: Sequence[int]) -> Iterator[Trial]:
    for seed in seeds:
        rig.begin(seed, moving=case.moving)
        begun = time.monotonic()
        case.begin(rig)
        rig.spin(case.watch)
        yield Trial(begun, *rig.state(since=begun + case.watch - TELLING))
        if case.end is not None:
            case.end(rig)
            rig.recover()
