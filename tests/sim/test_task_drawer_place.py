"""Drawer place: stages on states made by hand, starts, the drawer's physics, and the expert."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_runs import demonstrate
from world_states import make_state

from robolearn.rotations import matrix_from_quat, quat_about_z
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.robots import ROBOTS
from robolearn.sim.stages import task_progress
from robolearn.sim.tasks.drawer_place import DEPTH, DRAWER_PLACE, HALF, HANDLE, SIDE, TRAVEL, WALL, WIDTH, on_drawer
from robolearn.sim.tasks.task import Area

SIZES = {"cube": (HALF, HALF, HALF), "drawer": (DEPTH, WIDTH, WALL)}
YAW = np.pi + 0.15
CABINET = np.array((0.7, 0.1, 0.0))
AXIS = np.array((np.cos(YAW), np.sin(YAW), 0.0))  # the way the drawer opens
ON_TABLE, FAR = (0.5, -0.1, HALF), (0.5, 0.0, 0.3)
WIDE, ON_CUBE = 0.08, 2 * HALF


def at(point, opening=0.0):
    """A point of the drawer's frame in the base frame."""
    rotation = matrix_from_quat(quat_about_z(YAW))[None]
    return on_drawer(np.asarray(point), (CABINET + opening * AXIS)[None], rotation)[0]


def state(*, tool=FAR, width=WIDE, opening=0.0, cube=ON_TABLE):
    bodies = {"cube": cube, "cabinet": CABINET, "drawer": CABINET + opening * AXIS}
    turned = quat_about_z(YAW)
    return make_state(tool=tool, width=width, bodies=bodies, half=SIZES, quats={"cabinet": turned, "drawer": turned})


def stored(opening, x=0.0, z=0.028):
    return at((x, 0.0, z), opening)


@pytest.mark.parametrize(
    ("world", "stage"),
    [
        ({}, 0),
        ({"tool": at(HANDLE)}, 1),
        ({"tool": at(HANDLE, 0.05), "opening": 0.05, "width": 0.03}, 1),
        ({"opening": 0.05}, 0),  # let go too early
        ({"opening": 0.08}, 2),
        ({"tool": ON_TABLE, "width": ON_CUBE}, 0),  # the cube is held, but the drawer is shut
        ({"tool": ON_TABLE, "opening": 0.08}, 2),
        ({"tool": ON_TABLE, "opening": 0.08, "width": ON_CUBE}, 3),
        ({"tool": stored(0.08), "opening": 0.08, "width": ON_CUBE, "cube": stored(0.08)}, 3),  # not let go
        ({"tool": stored(0.08), "opening": 0.08, "cube": stored(0.08)}, 4),
        ({"opening": 0.08, "cube": stored(0.08, z=0.1)}, 2),  # falls in from high up
        ({"opening": 0.08, "cube": stored(0.08, x=0.1)}, 2),  # lies on the far side of the front
        ({"opening": 0.03, "cube": stored(0.03)}, 4),
        ({"opening": 0.003, "cube": stored(0.003)}, 5),
        ({"opening": 0.003, "cube": at((0.0, 0.0, 0.085))}, 0),  # lies on the cabinet
    ],
)
def test_the_stage_of_a_state(world, stage):
    assert DRAWER_PLACE.stage(state(**world)).tolist() == [stage]
    assert DRAWER_PLACE.success(state(**world)).tolist() == [stage == 5]


def test_progress_grows_along_a_good_episode_and_falls_when_the_cube_is_dropped():
    steps = (
        {},
        {"tool": at((HANDLE[0], 0.0, 0.09))},
        {"tool": at(HANDLE)},
        {"tool": at(HANDLE, 0.04), "opening": 0.04, "width": 0.03},
        {"tool": at(HANDLE, 0.08), "opening": 0.08, "width": 0.03},
        {"tool": (0.5, -0.1, 0.08), "opening": 0.08},
        {"tool": ON_TABLE, "opening": 0.08},
        {"tool": ON_TABLE, "opening": 0.08, "width": 0.06},
        {"tool": ON_TABLE, "opening": 0.08, "width": ON_CUBE},
        {"tool": stored(0.08, z=0.1), "opening": 0.08, "width": ON_CUBE, "cube": stored(0.08, z=0.1)},
        {"tool": stored(0.08, z=0.04), "opening": 0.08, "width": ON_CUBE, "cube": stored(0.08, z=0.04)},
        {"tool": stored(0.08, z=0.04), "opening": 0.065, "cube": stored(0.065)},
        {"opening": 0.03, "cube": stored(0.03)},
        {"opening": 0.003, "cube": stored(0.003)},
    )
    values = [task_progress(DRAWER_PLACE.stages, s, DRAWER_PLACE.stage(s))[0] for s in (state(**k) for k in steps)]
    assert (np.diff(values) > 0).all()
    assert values[-1] == 1.0
    dropped = state(tool=(0.5, 0.0, 0.2), opening=0.08)
    assert task_progress(DRAWER_PLACE.stages, dropped, DRAWER_PLACE.stage(dropped))[0] < values[6]


@given(st.integers(0, 2**32), st.sampled_from(sorted(ROBOTS)))
def test_handle_and_cube_start_in_the_area_with_room_for_the_fingers(seed, robot):
    area = Area.of(ROBOTS[robot][0])
    start = DRAWER_PLACE.place(np.random.default_rng(seed), area)
    (cube, _), (cabinet, turn) = start.poses["cube"], start.poses["cabinet"]
    rotation = matrix_from_quat(turn)
    assert start.joints == {"drawer": 0.0}
    assert cube[2] == HALF
    for point in (cube, cabinet + rotation @ HANDLE):
        assert (point[:2] >= np.array(area.low) - 1e-9).all()
        assert (point[:2] <= np.array(area.high) + 1e-9).all()
    seen = (cube - cabinet) @ rotation  # the cube in the cabinet's frame
    fingers = 0.06  # m from the middle of the open gripper to the outside of its fingers
    assert abs(seen[1]) > SIDE + fingers
    open_handle = (cabinet + rotation @ (HANDLE[0] + TRAVEL, 0.0, HANDLE[2]))[:2]
    assert (open_handle > np.array(area.low) - 0.03).all()


def test_it_starts_at_the_first_stage_with_the_drawer_shut():
    env = MujocoVecEnv("drawer_place", num_envs=20, autoreset=False)
    _, info = env.reset(seed=0)
    assert (info["stage"] == 0).all()
    env.close()


def test_the_drawer_stays_where_it_is_left_and_stops_at_its_ends():
    env = MujocoVecEnv("drawer_place", num_envs=3, autoreset=False)
    env.reset(seed=0)
    worlds = env.worlds
    joint = worlds.model.joint("drawer").qposadr[0]
    worlds.qpos[:, joint] = 0.05
    way = matrix_from_quat(worlds.state.quat("drawer"))[:, :, 0]
    force = np.array((0.0, 40.0, -40.0))[:, None]
    worlds.push("drawer", np.concatenate((force * way, np.zeros((3, 3))), axis=1))
    for _ in range(20):
        env.step(np.tile((0, 0, 0, 0, 0.08), (3, 1)))
    np.testing.assert_allclose(worlds.qpos[:, joint], (0.05, TRAVEL, 0.0), atol=0.002)
    env.close()


def test_the_clean_expert_succeeds_stage_by_stage():
    for episode in demonstrate("drawer_place", 10):
        assert episode.success
        seen = episode.frames["observation.stage"]
        assert seen[0] == 0
        assert set(seen.tolist()) == {0, 1, 2, 3, 4}
        first = [int(np.argmax(seen == k)) for k in range(5)]
        assert first == sorted(first)


@pytest.mark.parametrize("robot", sorted(set(ROBOTS) - {"panda"}))
def test_the_clean_expert_succeeds_with_other_arms(robot):
    assert all(episode.success for episode in demonstrate("drawer_place", 5, robot=robot))


def test_a_dropped_cube_is_picked_up_again():
    env = MujocoVecEnv("drawer_place", autoreset=False)
    expert = ScriptedExpert("drawer_place", env.schema, 1)
    expert.reset([3])
    observation, info = env.reset(seed=[3])
    dropped = False
    for _ in range(env.max_episode_steps):
        action = expert.act(observation)
        cube = observation["observation.environment_state"][0, :3]
        if not dropped and info["stage"][0] == 3 and cube[2] > 0.05:
            dropped = True
            for _ in range(6):  # something opens the gripper
                observation, _, _, _, info = env.step(np.array(((0, 0, 0, 0, 0.08),)))
            assert info["stage"][0] == 2
            continue
        observation, _, terminated, _, info = env.step(action)
        if terminated[0]:
            break
    assert dropped
    assert info["success"][0]
    env.close()
