"""Peg insert: stages on states made by hand, starts, the hole, and the expert."""

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_runs import demonstrate
from world_states import make_state

from robolearn.rotations import quat_about_z
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.robots import ROBOTS
from robolearn.sim.stages import task_progress
from robolearn.sim.tasks.peg_insert import APART, CLEARANCE, GRIP, HEIGHT, PEG, PEG_INSERT
from robolearn.sim.tasks.task import Area

STANDING, HOLE = np.array((0.5, -0.1, PEG[2])), np.array((0.6, 0.1, 0.0))
IN_HOLE = np.array((0.6, 0.1, PEG[2]))
TIP = np.array((0.0, 0.0, GRIP))
FAR = (0.5, 0.0, 0.3)
WIDE, ON_PEG = 0.08, 2 * PEG[0]


def state(*, tool=FAR, width=WIDE, peg=STANDING, quat=(1.0, 0.0, 0.0, 0.0)):
    return make_state(
        tool=tool, width=width, bodies={"peg": peg, "block": HOLE}, half={"peg": PEG}, quats={"peg": quat}
    )


def over_hole(height, *, beside=0.0):
    """Centre of an upright peg whose lower end is `height` m over the bottom of the hole."""
    return IN_HOLE + np.array((beside, 0.0, height))


def held(peg, **kwargs):
    peg = np.asarray(peg)
    return {"tool": peg + TIP, "width": ON_PEG, "peg": peg, **kwargs}


def tilted(angle):
    return (np.cos(angle / 2), np.sin(angle / 2), 0.0, 0.0)


@pytest.mark.parametrize(
    ("world", "stage"),
    [
        ({}, 0),
        ({"tool": STANDING + TIP}, 1),
        (held(STANDING), 2),
        ({"tool": STANDING + TIP, "width": 0.0}, 1),  # closed on nothing
        (held((0.55, 0.0, 0.12)), 2),
        (held(over_hole(0.06)), 3),
        (held(over_hole(0.06, beside=0.008)), 2),
        (held(over_hole(0.02)), 3),
        (held(IN_HOLE), 3),  # not let go
        ({"tool": IN_HOLE + TIP, "peg": IN_HOLE}, 4),
        ({"peg": IN_HOLE}, 4),
        ({"peg": over_hole(HEIGHT)}, 0),  # stands on the block
        ({"peg": over_hole(0.02)}, 0),  # falls in, or sticks half-way
        ({"peg": (0.6, 0.1, PEG[0]), "quat": tilted(np.pi / 2)}, 0),
    ],
)
def test_the_stage_of_a_state(world, stage):
    assert PEG_INSERT.stage(state(**world)).tolist() == [stage]
    assert PEG_INSERT.success(state(**world)).tolist() == [stage == 4]


def test_a_peg_that_hangs_askew_is_not_aligned():
    angle = 0.25
    quat, axis = tilted(angle), np.array((0.0, -np.sin(angle), np.cos(angle)))
    centre = np.array((0.6, 0.1, 0.06)) + PEG[2] * axis  # its lower end is over the hole
    world = {"tool": centre + GRIP * axis, "width": ON_PEG, "peg": centre, "quat": quat}
    assert PEG_INSERT.stage(state(**world)).tolist() == [2]


def test_progress_grows_along_a_good_episode_and_falls_when_the_peg_is_dropped():
    steps = (
        {},
        {"tool": STANDING + TIP + (0.0, 0.0, 0.05)},
        {"tool": STANDING + TIP},
        {"tool": STANDING + TIP, "width": 0.05},
        held(STANDING),
        held((0.55, 0.0, 0.12)),
        held(over_hole(0.08)),
        held(over_hole(0.045)),
        held(over_hole(0.01)),
        held(IN_HOLE),
        {"tool": IN_HOLE + TIP, "width": ON_PEG + 0.005, "peg": IN_HOLE},
        {"tool": IN_HOLE + TIP, "peg": IN_HOLE},
    )
    values = [task_progress(PEG_INSERT.stages, s, PEG_INSERT.stage(s))[0] for s in (state(**k) for k in steps)]
    assert (np.diff(values) > 0).all()
    assert values[-1] == 1.0
    dropped = state(tool=(0.55, 0.0, 0.12), peg=(0.55, 0.0, PEG[0]), quat=tilted(np.pi / 2))
    assert task_progress(PEG_INSERT.stages, dropped, PEG_INSERT.stage(dropped))[0] < values[4]


@given(st.integers(0, 2**32), st.sampled_from(sorted(ROBOTS)))
def test_peg_and_block_start_apart_in_the_area(seed, robot):
    area = Area.of(ROBOTS[robot][0])
    poses = PEG_INSERT.place(np.random.default_rng(seed), area).poses
    (peg, _), (block, _) = poses["peg"], poses["block"]
    assert peg[2] == PEG[2]
    for xy in (peg[:2], block[:2]):
        assert (xy >= area.low).all()
        assert (xy <= area.high).all()
    assert np.linalg.norm((peg - block)[:2]) >= APART


def settle(*, beside=0.0, turn=0.0, n_steps=400):
    """Where a peg comes to rest, released over the hole with its lower end just above it."""
    env = MujocoVecEnv("peg_insert", autoreset=False)
    env.reset(seed=[0])
    model = env.worlds.model
    data = mujoco.MjData(model)
    data.qpos[:] = env.worlds.qpos[0]
    env.close()
    joint = int(model.joint("peg").qposadr[0])
    data.mocap_pos[0], data.mocap_quat[0] = HOLE, quat_about_z(0.3)
    data.qpos[joint : joint + 3] = over_hole(HEIGHT + 0.002, beside=beside)
    data.qpos[joint + 3 : joint + 7] = quat_about_z(0.3 + turn)
    mujoco.mj_step(model, data, n_steps)
    speed = np.abs(data.joint("peg").qvel).max()
    return data.qpos[joint : joint + 3] - HOLE, speed


def test_a_peg_that_is_released_true_falls_in_and_rests():
    at, speed = settle()
    assert at[2] == pytest.approx(PEG[2], abs=0.001)
    assert np.abs(at[:2]).max() < CLEARANCE
    assert speed < 1e-3


@pytest.mark.parametrize("error", [{"beside": 0.002}, {"turn": 0.2}])
def test_a_peg_that_is_two_millimetres_off_or_turned_does_not_go_in(error):
    at, _ = settle(**error)
    assert abs(at[2] - PEG[2]) > 0.02


def test_it_starts_at_the_first_stage():
    env = MujocoVecEnv("peg_insert", num_envs=20, autoreset=False)
    _, info = env.reset(seed=0)
    assert (info["stage"] == 0).all()
    env.close()


def test_the_clean_expert_succeeds_stage_by_stage():
    for episode in demonstrate("peg_insert", 10):
        assert episode.success
        seen = episode.frames["observation.stage"]
        assert seen[0] == 0
        assert set(seen.tolist()) == {0, 1, 2, 3}
        first = [int(np.argmax(seen == k)) for k in range(4)]
        assert first == sorted(first)


@pytest.mark.parametrize("robot", sorted(set(ROBOTS) - {"panda"}))
def test_the_clean_expert_succeeds_with_other_arms(robot):
    assert all(episode.success for episode in demonstrate("peg_insert", 5, robot=robot))


def test_a_demonstration_does_not_depend_on_its_neighbours():
    seeds = [4, 1, 3]
    for seed, episode in zip(seeds, demonstrate("peg_insert", seeds), strict=True):
        (alone,) = demonstrate("peg_insert", [seed])
        np.testing.assert_array_equal(alone.frames["action"], episode.frames["action"])
