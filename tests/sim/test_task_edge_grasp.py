"""Edge grasp: stages on states made by hand, starts, and the expert."""

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_runs import demonstrate, first_seen, succeed_by_chance
from world_states import make_state

from robolearn.errors import UserError
from robolearn.robot import RobotSpec
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.homes import home_joints
from robolearn.sim.robots import get_robot
from robolearn.sim.stages import task_progress
from robolearn.sim.tasks.edge_grasp import EDGE_GRASP, HALF, HEIGHT, OVERHANG, SHELF, TOP, overhang, tool
from robolearn.sim.tasks.task import Area

EDGE = 0.1  # y of the shelf's edge
Z = TOP + HALF[2]
SIZES = {"box": HALF, "shelf": SHELF}
DOWN = (0.0, 1.0, 0.0, 0.0)
SIDEWAYS = (0.5**0.5, -(0.5**0.5), 0.0, 0.0)  # the tool points along +y, the fingers open upright


def state(*, over=-0.05, z=Z, tool=(0.5, -0.3, 0.4), toward=DOWN, width=0.08, tilt=0.0):
    """A box that reaches `over` m over the edge, tilted about x by `tilt` rad."""
    y = EDGE - over + HALF[1]
    turned = (np.cos(tilt / 2), np.sin(tilt / 2), 0.0, 0.0)
    return make_state(
        tool=tool,
        tool_quat=toward,
        width=width,
        bodies={"box": (0.5, y, z), "shelf": (0.5, EDGE + SHELF[1], SHELF[2])},
        half=SIZES,
        quats={"box": turned},
    )


OVER = OVERHANG + 0.005
HOLD = (0.5, EDGE - OVER / 2, Z)  # the middle of the rim
RAISED = Z + HEIGHT + 0.01
GOOD = (
    {},
    {"tool": (0.5, EDGE + 0.15, Z + 0.05)},  # over the box
    {"over": OVER},
    {"over": OVER, "tool": (0.5, HOLD[1] - 0.05, Z), "toward": SIDEWAYS},
    {"over": OVER, "tool": HOLD, "toward": SIDEWAYS, "width": 2 * HALF[2]},
    {"over": OVER, "tool": (*HOLD[:2], RAISED), "toward": SIDEWAYS, "width": 2 * HALF[2], "z": RAISED},
)


@pytest.mark.parametrize(("stage", "world"), list(enumerate(GOOD)))
def test_the_stages_of_a_good_episode(stage, world):
    assert EDGE_GRASP.stage(state(**world)).tolist() == [stage]
    assert EDGE_GRASP.success(state(**world)).tolist() == [stage == 5]
    assert not EDGE_GRASP.lost(state(**world)).any()


@pytest.mark.parametrize(
    ("world", "stage"),
    [
        ({**GOOD[3], "toward": DOWN}, 2),
        ({**GOOD[4], "width": 0.06}, 3),
        ({**GOOD[4], "width": 0.0}, 3),
        ({**GOOD[4], "toward": DOWN}, 2),  # closed beside the box
        ({**GOOD[5], "width": 0.06}, 3),  # thrown
        ({"over": OVER, "tilt": 1.2}, 0),  # stands up, however far its lower side reaches
        ({"over": 0.08, "z": 0.05}, 0),
    ],
)
def test_what_does_not_count(world, stage):
    assert EDGE_GRASP.stage(state(**world)).tolist() == [stage]


def test_a_box_that_fell_ends_the_episode():
    assert EDGE_GRASP.lost(state(over=0.1, z=HALF[2])).tolist() == [True]
    env = MujocoVecEnv("edge_grasp", num_envs=2, autoreset=False)
    env.reset(seed=0)
    at = env.worlds.model.joint("box").qposadr[0]
    env.worlds.qpos[1, at + 1] -= 0.3
    hold = np.zeros((2, 7))
    for _ in range(10):
        _, _, terminated, truncated, info = env.step(hold)
        if terminated.any():
            break
    assert terminated.tolist() == [False, True]
    assert not truncated.any()
    assert not info["success"].any()


@given(st.floats(0, np.pi / 2))
def test_the_overhang_is_that_of_the_lowest_corner(tilt):
    world = state(tilt=tilt)
    y = world.pos("box")[0, 1]
    corners = [y + np.cos(tilt) * a * HALF[1] - np.sin(tilt) * b * HALF[2] for a in (-1, 1) for b in (-1, 1)]
    np.testing.assert_allclose(overhang(world), EDGE - min(corners), atol=1e-9)


def test_progress_grows_along_a_good_episode():
    values = [
        float(task_progress(EDGE_GRASP.stages, s, EDGE_GRASP.stage(s))[0]) for s in (state(**world) for world in GOOD)
    ]
    assert values == sorted(values)
    assert values[0] < 0.2
    assert values[-1] == 1.0


def test_closing_before_the_rim_is_between_the_fingers_never_gains():
    beside = {**GOOD[3], "tool": (0.5, EDGE - OVER - 0.01, Z)}
    opened, half, closed = (state(**{**beside, "width": width}) for width in (0.08, 0.03, 0.0))
    values = [task_progress(EDGE_GRASP.stages, s, EDGE_GRASP.stage(s))[0] for s in (opened, half, closed)]
    assert values[0] == values[1] > values[2]


def test_fingers_that_open_along_the_rim_are_not_aligned_with_it():
    turned = state(**{**GOOD[3], "toward": (0.5, -0.5, 0.5, 0.5)})  # a quarter turn about its own axis
    assert EDGE_GRASP.stage(turned).tolist() == [2]


@given(st.integers(0, 10**6))
def test_the_box_starts_on_the_shelf_and_too_far_in_to_be_grasped(seed):
    area = Area.of(get_robot("panda"))
    start = EDGE_GRASP.place(np.random.default_rng(seed), area)
    (box, _), (shelf, _) = start.poses["box"], start.poses["shelf"]
    edge = shelf[1] - SHELF[1]
    assert abs(box[0] - shelf[0]) + 1.5 * HALF[0] < SHELF[0] + 0.02
    assert edge + HALF[1] < box[1] < shelf[1] + SHELF[1] - HALF[1]
    assert box[2] == Z


@pytest.mark.parametrize("robot", ["panda", "ur5e"])
def test_the_arm_begins_before_the_shelf_without_touching_anything(robot):
    env = MujocoVecEnv("edge_grasp", robot, autoreset=False)
    _, info = env.reset(seed=0)
    assert info["stage"].tolist() == [0]
    pos, rot = tool(Area.of(env.robot))
    state = env.worlds.state
    np.testing.assert_allclose(state.tool_pos[0], pos, atol=0.05)  # the start is a little random
    assert np.trace(rot.T @ state.tool_rot[0]) > 2.9
    data = env.worlds._batch.get_data(0)
    mujoco.mj_forward(env.worlds.model, data)
    names = {env.worlds.model.geom(int(g)).name for contact in data.contact for g in contact.geom}
    assert names <= {"box", "shelf"}


def test_a_start_that_the_arm_cannot_take_is_said_so():
    robot: RobotSpec = get_robot("so101")
    with pytest.raises(UserError, match="cannot hold its tool where task 'edge_grasp' begins"):
        home_joints(EDGE_GRASP, robot)


def test_the_clean_expert_succeeds_stage_by_stage():
    for episode in demonstrate("edge_grasp", 10):
        assert episode.success
        assert first_seen(episode) == [0, 1, 2, 3, 4]


def test_random_actions_never_succeed():
    assert succeed_by_chance("edge_grasp", 20) == 0
