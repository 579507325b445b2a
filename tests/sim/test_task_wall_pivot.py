"""Wall pivot: what it takes, stages on states made by hand, starts, and the expert with and without the wall."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world_states import make_state

from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes
from robolearn.robot import RobotSpec
from robolearn.sim.backends.mujoco import MujocoVecEnv, Worlds
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.robots import ROBOTS, get_robot
from robolearn.sim.stages import task_progress
from robolearn.sim.tasks.task import Area, Start
from robolearn.sim.tasks.wall_pivot import GAP, HALF, TOUCHING, WALL, WALL_PIVOT, gap, tilt
from robolearn.sim.vec_env import RobotVecEnv

AREA = Area((0.42, -0.18), (0.66, 0.18))
FACE = 0.64  # x of the wall's face, m
LENGTH, THICK = 2 * HALF[0], 2 * HALF[2]
OPEN = 0.08
FAR = (0.5, 0.0, 0.3)
ALONG = (0.0, 1.0, 0.0, 0.0)  # the gripper points down and opens along the wall
ACROSS = (0.0, np.sqrt(0.5), np.sqrt(0.5), 0.0)  # it opens across the wall


def leaning(angle):
    """Position and orientation of the box at the wall with its near edge up by an angle."""
    far_edge = np.array((FACE - THICK * np.sin(angle), 0.0, 0.0))
    along, up = np.array((-np.cos(angle), 0, np.sin(angle))), np.array((np.sin(angle), 0, np.cos(angle)))
    return far_edge + HALF[0] * along + HALF[2] * up, (np.cos(angle / 2), 0.0, np.sin(angle / 2), 0.0)


def state(*, tool=FAR, width=OPEN, box=(0.5, 0.0, HALF[2]), turn=(1.0, 0.0, 0.0, 0.0), hand=ALONG):
    return make_state(
        tool=tool,
        width=width,
        bodies={"box": box, "wall": (FACE + WALL[0], 0.0, WALL[2])},
        half={"box": HALF, "wall": WALL},
        quats={"box": turn},
        tool_quat=hand,
    )


AT_WALL, _ = leaning(0.0)
STANDING, UP = leaning(np.pi / 2)
TOP = (STANDING[0], 0.0, LENGTH - 0.02)
HIGH = STANDING + np.array((0, 0, 0.1))


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        ({}, 0),
        ({"tool": (0.43, 0.0, 0.015)}, 1),
        ({"tool": (0.5, 0.0, 0.5), "box": AT_WALL}, 2),
        ({"box": leaning(1.0)[0], "turn": leaning(1.0)[1]}, 2),
        ({"box": STANDING, "turn": UP}, 3),
        ({"box": STANDING, "turn": UP, "tool": TOP, "hand": ACROSS}, 3),
        ({"box": STANDING, "turn": UP, "tool": TOP, "hand": ACROSS, "width": THICK}, 4),
        ({"box": STANDING, "turn": UP, "tool": TOP, "hand": ALONG, "width": THICK}, 3),
        ({"box": HIGH, "turn": UP, "tool": HIGH, "hand": ACROSS, "width": THICK}, 5),
        ({"box": HIGH, "turn": UP, "tool": HIGH, "hand": ACROSS, "width": 0.05}, 3),  # not held
        ({"box": AT_WALL, "tool": AT_WALL, "hand": ACROSS, "width": THICK}, 2),  # closed over the flat box
        ({"box": (0.55, 0.0, HALF[2])}, 0),  # fell back and lies away from the wall
    ],
)
def test_the_stage_of_a_state(world, expected):
    s = state(**world)
    assert WALL_PIVOT.stage(s).tolist() == [expected]
    assert WALL_PIVOT.success(s).tolist() == [expected == 5]


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.8, 1.2, np.pi / 2])
def test_a_leaning_box_touches_the_wall_and_progress_is_its_tilt(angle):
    position, turn = leaning(angle)
    s = state(box=position, turn=turn)
    assert gap(s) == pytest.approx(0.0, abs=1e-9)
    assert tilt(s) == pytest.approx(angle, abs=1e-6)


def test_progress_grows_while_the_box_is_pushed_and_tilted():
    pushed = [state(tool=(x - 0.075, 0, 0.015), box=(x, 0, HALF[2])) for x in np.linspace(0.53, 0.58, 4)]
    tilted = [state(box=p, turn=q) for p, q in (leaning(a) for a in (0.1, 0.5, 1.0, 1.3, 1.5))]
    values = [task_progress(WALL_PIVOT.stages, s, WALL_PIVOT.stage(s))[0] for s in (*pushed, *tilted)]
    assert (np.diff(values) > 0).all()
    assert 0.2 < values[0] < 0.4 < values[4] < values[-1] < 1


@given(st.integers(0, 2**32))
def test_the_box_starts_flat_before_the_wall_and_within_reach(seed):
    start = WALL_PIVOT.place(np.random.default_rng(seed), AREA)
    (box, turn), (wall, along) = start.poses["box"], start.poses["wall"]
    s = make_state(
        tool=FAR,
        width=OPEN,
        bodies={"box": box, "wall": wall},
        half={"box": HALF, "wall": WALL},
        quats={"box": turn, "wall": along},
    )
    assert GAP[0] - 1e-9 <= gap(s)[0] <= GAP[1] + 1e-9
    assert gap(s)[0] > TOUCHING
    assert tilt(s)[0] == pytest.approx(0.0, abs=1e-6)
    assert box[2] == HALF[2]
    assert (box[:2] >= np.array(AREA.low)).all()
    assert (box[:2] <= np.array(AREA.high)).all()
    assert WALL_PIVOT.stage(s).tolist() == [0]


@pytest.mark.parametrize("name", ROBOTS)
def test_no_gripper_can_take_the_flat_box_from_above(name):
    assert get_robot(name).gripper_width < 2 * min(HALF[:2])
    assert get_robot(name).gripper_width > 2 * THICK  # but the standing one, with room for the wall's side


def demonstrate(task, seeds, *, robot: RobotSpec):
    worlds = Worlds(task, robot, num_worlds=len(seeds))
    env = RobotVecEnv(worlds, autoreset=False)
    episodes = run_episodes(env, ScriptedExpert("wall_pivot", env.schema, len(seeds)), seeds, record=True)
    env.close()
    return episodes


def test_the_clean_expert_succeeds_stage_by_stage():
    for episode in demonstrate(WALL_PIVOT, range(10), robot=get_robot("panda")):
        assert episode.success
        seen = episode.frames["observation.stage"]
        assert seen[0] == 0
        first = [int(np.argmax(seen == k)) for k in range(5)]
        assert first == sorted(first)
        assert set(seen.tolist()) == set(range(5))


def test_what_the_fingers_felt_in_one_world_does_not_leak_into_another():
    def actions(seeds):
        env = MujocoVecEnv("wall_pivot", num_envs=len(seeds), autoreset=False, max_episode_steps=45)
        expert = ScriptedExpert("wall_pivot", env.schema, len(seeds), noise=0.3)
        return [episode.frames["action"] for episode in run_episodes(env, expert, seeds, record=True)]

    for seed, together in zip((3, 8), actions([3, 8]), strict=True):
        np.testing.assert_array_equal(together, actions([seed])[0])


def test_without_the_wall_the_same_motion_fails():
    def sunk(rng, area):
        start = WALL_PIVOT.place(rng, area)
        wall, turn = start.poses["wall"]
        return Start({**start.poses, "wall": (wall - (0, 0, 2 * WALL[2]), turn)})

    task = replace(WALL_PIVOT, place=sunk, max_episode_steps=100)
    episodes = demonstrate(task, range(4), robot=get_robot("panda"))
    assert not any(episode.success for episode in episodes)


def test_an_arm_with_less_reach_is_refused():

    with pytest.raises(UserError, match="has not the reach of task 'wall_pivot'"):
        MujocoVecEnv("wall_pivot", "so101")
