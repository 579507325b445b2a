"""What `bench control` makes of what it sees; the processes are tested in tests/integration."""

import numpy as np
import pytest

from robolearn.bench import _control_faults as faults
from robolearn.bench import control
from robolearn.bench._control_rig import stopped_after
from robolearn.eval.results import Result
from robolearn.real.faults import KINDS
from robolearn.real.state_machine import State

MOVING = np.arange(100.0)[:, None] * np.ones(8)
TIMES = np.arange(100) / 100


def test_the_last_motion_counts_and_what_stays_does_not():
    commands = np.minimum(MOVING, 50)
    assert stopped_after(TIMES, commands, since=0.2, until=0.99) == pytest.approx(0.3)
    assert stopped_after(TIMES, commands, since=0.7, until=0.99) == 0.0
    assert stopped_after(TIMES, MOVING, since=0.2, until=0.99) == float("inf")
    assert stopped_after(TIMES[:0], MOVING[:0], since=0.2, until=0.99) == 0.0


def test_cases_expect_states_that_there_are_and_faults_of_drivers_are_all_tried():
    for case in faults.CASES.values():
        assert set(case.expected) <= {*State, faults.GONE, faults.REFUSED}
    told = []

    class Rig:
        def __getattr__(self, name):
            return lambda *args: told.append(args[0] if args else name)

    for case in faults.CASES.values():
        case.begin(Rig())
    assert set(KINDS) <= set(told)


FOUND = {
    "stopped_ms": [100.0, 120.0, None],
    "states": ["hold", "hold", "active"],
    "reasons": ["old", "old", ""],
    "expected": 2,
    "violations": 1,
    "first_violation": "velocity",
    "commands": 500,
}


def test_measures_and_table_say_how_it_went():
    measures = control._measures("arm_killed", FOUND)
    values = {m.id: m.value for m in measures}
    assert values["expected.arm_killed"] == values["went_on.arm_killed"] * 2 == pytest.approx(2 / 3)
    assert values["violations.arm_killed"] == 1
    assert values["stopped_ms.arm_killed"] == 110.0
    result = Result("control", "robolearn bench control", "abc", {"cpu": "x"}, (0,), tuple(measures))
    assert "| `arm_killed` | 67% | 110 ms (120 ms) | 1 |" in control.table(result)
    assert "hold 2, active 1; at rest after 110 ms (at most 120); 1 violations in 500" in control._told(
        "arm_killed", FOUND
    )


def test_an_arm_that_never_stops_has_no_time():
    ids = [m.id for m in control._measures("arm_killed", {**FOUND, "stopped_ms": [None] * 3})]
    assert "stopped_ms.arm_killed" not in ids
    assert "never at rest" in control._told("arm_killed", {**FOUND, "stopped_ms": [None]})
