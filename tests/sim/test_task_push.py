"""Push: stages on states made by hand, starts, the plan of a stroke, and the expert."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_runs import demonstrate, first_seen, succeed_by_chance
from world_states import make_state

from robolearn.errors import UserError
from robolearn.rotations import quat_about_z
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.robots import ROBOTS, get_robot
from robolearn.sim.stages import task_progress
from robolearn.sim.tasks.push import ANGLE, APART, AWAY, EXACT, HALF, MARGIN, MARK, NEAR, PUSH, TOUCHING
from robolearn.sim.tasks.task import Area

GOAL = (0.5, 0.0, MARK)
SIZES = {"plate": HALF, "goal": (*HALF[:2], MARK)}
FAR = (0.5, 0.0, 0.3)


def state(*, x=0.2, turn=0.0, tool=FAR, z=HALF[2]):
    bodies = {"plate": (0.5 + x, 0.0, z), "goal": GOAL}
    return make_state(tool=tool, width=0.0, bodies=bodies, half=SIZES, quats={"plate": quat_about_z(turn)})


def beside(x, gap):
    """A tool `gap` m behind a plate that is x m from the goal."""
    return {"x": x, "tool": (0.5 + x + HALF[0] + gap, 0.0, HALF[2])}


@pytest.mark.parametrize(
    ("world", "stage"),
    [
        ({}, 0),
        (beside(0.2, TOUCHING + 0.001), 0),
        (beside(0.2, TOUCHING - 0.001), 1),
        (beside(NEAR + 0.001, 0.01), 1),
        (beside(NEAR - 0.001, 0.01), 2),
        ({"x": NEAR - 0.001, "z": 0.05}, 0),  # carried
        (beside(EXACT - 0.001, 0.01), 3),
        ({**beside(EXACT - 0.001, 0.01), "turn": ANGLE + 0.01}, 2),
        ({"x": 0.0, "turn": ANGLE + 0.01}, 2),
        ({"x": EXACT - 0.001, "turn": ANGLE - 0.01}, 4),
        ({"x": 0.0, "turn": np.pi + ANGLE - 0.01}, 4),  # the plate looks the same
        ({"x": 0.0, "turn": np.pi / 2}, 2),
        (beside(0.0, AWAY - 0.001), 3),
        (beside(0.0, AWAY + 0.001), 4),
        ({"x": 0.0, "tool": (0.5, 0.0, 2 * HALF[2])}, 3),  # the tool lies on it
    ],
)
def test_the_stage_of_a_state(world, stage):
    assert PUSH.stage(state(**world)).tolist() == [stage]
    assert PUSH.success(state(**world)).tolist() == [stage == 4]


def test_progress_grows_along_a_good_episode():
    turned = {"turn": 0.4}
    steps = (
        turned,
        {**beside(0.2, 0.1), **turned},
        {**beside(0.2, 0.0), **turned},
        {**beside(0.1, 0.0), **turned},
        {**beside(0.025, 0.0), **turned},
        {**beside(0.015, 0.0), **turned},
        {**beside(0.005, 0.0), "turn": 0.2},
        beside(0.005, 0.0),
        beside(0.005, 0.02),
        beside(0.005, 0.05),
    )
    values = [task_progress(PUSH.stages, s, PUSH.stage(s))[0] for s in (state(**step) for step in steps)]
    assert (np.diff(values) > 0).all()
    assert values[-1] == 1.0


@pytest.mark.parametrize("robot", ["panda", "ur5e"])
@given(seed=st.integers(0, 2**32))
def test_plate_and_goal_lie_within_reach_and_apart(robot, seed):
    area = Area.of(get_robot(robot))
    start = PUSH.place(np.random.default_rng(seed), area)
    plate, goal = (start.poses[name][0] for name in PUSH.bodies)
    for at in (plate, goal):
        assert ((at[:2] >= np.add(area.low, MARGIN)) & (at[:2] <= np.subtract(area.high, MARGIN))).all()
    assert np.linalg.norm(plate[:2] - goal[:2]) >= APART > NEAR


def test_no_gripper_can_pick_the_plate_up():
    assert all(robot.gripper_width < 2 * min(HALF[:2]) for robot in map(get_robot, ROBOTS))


def test_an_arm_with_a_small_area_is_refused():
    with pytest.raises(UserError, match="has not the reach of task 'push'"):
        MujocoVecEnv("push", "so101")


def test_the_clean_expert_succeeds_stage_by_stage():
    for episode in demonstrate("push", 10):
        assert episode.success
        seen = first_seen(episode)
        assert seen == sorted(seen)
        assert {0, 1, 3} <= set(seen)  # one stroke may bring the plate to the goal and fit it


def test_chance_does_not_push_the_plate_onto_the_goal():
    assert succeed_by_chance("push", 10) == 0
