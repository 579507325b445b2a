"""Stages of the lift task on states made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world_states import make_state

from robolearn.sim.stages import Stage, current_stage, task_progress
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.lift import HALF, HEIGHT, LIFT

TABLE = HALF  # height of the centre of a cube that lies on the table
OPEN, CLOSED = 0.08, 2 * HALF


def state(*worlds) -> WorldState:
    """Worlds (tool position, gripper width, cube position); joints and turns do not matter here."""
    tools, widths, cubes = zip(*worlds, strict=True)
    return make_state(tool=tools, width=widths, bodies={"cube": cubes}, half={"cube": (HALF, HALF, HALF)})


def at(x, z):
    return (x, 0.0, z)


FAR = (at(0.5, 0.3), OPEN, at(0.5, TABLE))
REACHED = (at(0.5, TABLE), OPEN, at(0.5, TABLE))
GRASPED = (at(0.5, TABLE), CLOSED, at(0.5, TABLE))
RAISED = (at(0.5, 0.08), CLOSED, at(0.5, 0.08))
LIFTED = (at(0.5, 0.2), CLOSED, at(0.5, 0.2))
DROPPED = (at(0.5, 0.2), CLOSED, at(0.5, TABLE))
MISSED = (at(0.5, TABLE), 0.0, at(0.5, TABLE + 0.01))  # fingers closed on nothing
THROWN = (at(0.5, 0.3), OPEN, at(0.5, 0.2))  # high enough, but not held


@pytest.mark.parametrize(
    ("world", "stage"),
    [
        (FAR, 0),
        (REACHED, 1),
        (GRASPED, 2),
        (RAISED, 2),
        (LIFTED, 3),
        (DROPPED, 0),
        (MISSED, 1),
        (THROWN, 0),
    ],
)
def test_the_stage_of_a_state(world, stage):
    assert LIFT.stage(state(world)).tolist() == [stage]
    assert LIFT.success(state(world)).tolist() == [stage == 3]


def test_worlds_are_judged_one_by_one_and_fall_back_when_the_cube_is_dropped():
    order = (FAR, REACHED, GRASPED, RAISED, LIFTED, DROPPED)
    assert LIFT.stage(state(*order)).tolist() == [0, 1, 2, 2, 3, 0]
    progress = task_progress(LIFT.stages, state(*order), LIFT.stage(state(*order)))
    assert (np.diff(progress[:5]) > 0).all()
    assert progress[4] == 1.0
    assert progress[5] < progress[1]


def test_progress_within_a_stage():
    def progress(*world):
        s = state(world)
        return task_progress(LIFT.stages, s, LIFT.stage(s))[0]

    nearer = [progress(at(0.5, z), OPEN, at(0.5, TABLE)) for z in (0.5, 0.3, 0.1)]
    assert nearer == sorted(nearer)
    assert 0 < nearer[0] < nearer[-1] < 1 / 3
    assert progress(at(0.5, TABLE), OPEN, at(0.5, TABLE)) == pytest.approx(1 / 3)
    assert progress(at(0.5, TABLE), 0.06, at(0.5, TABLE)) == pytest.approx(0.5)
    assert progress(at(0.5, TABLE + HEIGHT / 2), CLOSED, at(0.5, TABLE + HEIGHT / 2)) == pytest.approx(2 / 3 + 1 / 6)


@given(
    st.lists(
        st.tuples(
            st.tuples(st.floats(0.2, 0.8), st.floats(-0.4, 0.4), st.floats(0.0, 0.6)),
            st.floats(0.0, 0.08),
            st.tuples(st.floats(0.2, 0.8), st.floats(-0.4, 0.4), st.floats(-0.5, 0.6)),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_progress_is_in_the_range_of_its_stage(worlds):
    s = state(*worlds)
    index = LIFT.stage(s)
    progress = task_progress(LIFT.stages, s, index) * len(LIFT.stages)
    assert ((index >= 0) & (index <= len(LIFT.stages))).all()
    assert (progress >= index - 1e-9).all()
    assert (progress <= index + 1 + 1e-9).all()
    np.testing.assert_array_equal(LIFT.success(s), index == len(LIFT.stages))


def test_the_last_stage_that_is_done_counts():
    def stage(name, done):
        return Stage(name, name, lambda s: np.array(done), lambda s: np.array([2.0, -1.0, 0.5]))

    stages = (stage("a", [True, False, False]), stage("b", [False, False, True]))
    s = state(FAR, FAR, FAR)
    index = current_stage(stages, s)
    assert index.tolist() == [1, 0, 2]
    # what a stage says beyond [0, 1] is cut
    assert task_progress(stages, s, index).tolist() == [1.0, 0.0, 1.0]
