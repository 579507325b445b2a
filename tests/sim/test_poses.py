"""Poses computed from positions alone are those of MuJoCo's own kinematics."""

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.rotations import matrix_from_quat
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.backends.poses import all_loose
from robolearn.sim.kernels import ChainArrays, tool_poses
from robolearn.sim.mirror import poses, set_pose
from robolearn.sim.robots import ROBOTS, get_robot
from robolearn.sim.tasks import TASKS


@pytest.mark.parametrize("robot", sorted(ROBOTS))
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 4))
@settings(max_examples=20)
def test_the_tool_is_where_the_chain_says(robot, seed, n):
    spec = get_robot(robot)
    joints = np.random.default_rng(seed).uniform(spec.lower, spec.upper, (n, spec.n_joints))
    pos, quat = tool_poses(ChainArrays.of(spec.chain), joints)
    expected = spec.chain.forward(joints)
    np.testing.assert_allclose(pos, expected.tool_pos, rtol=0, atol=1e-9)
    np.testing.assert_allclose(matrix_from_quat(quat), expected.tool_rot, rtol=0, atol=1e-9)


def test_joints_of_another_arm_are_refused():
    with pytest.raises(ValueError, match="expected"):
        tool_poses(ChainArrays.of(get_robot("panda").chain), np.zeros((2, 6)))


@pytest.mark.parametrize(
    ("task", "robot"), [*((task, "panda") for task in sorted(TASKS)), ("lift", "ur5e"), ("lift", "so101")]
)
def test_tool_and_bodies_are_where_mujoco_has_them(task, robot):
    env = MujocoVecEnv(task, robot, num_envs=2)
    env.reset(seed=0)
    rng, data, model = np.random.default_rng(0), mujoco.MjData(env.worlds.model), env.worlds.model
    for _ in range(15):
        env.step(rng.uniform(env.action_space.low, env.action_space.high))
        state = env.worlds.state
        for i, pose in enumerate(poses(env.worlds)):
            set_pose(model, data, pose)
            np.testing.assert_allclose(state.tool_pos[i], data.site("tool").xpos, rtol=0, atol=1e-9)
            np.testing.assert_allclose(state.tool_rot[i].ravel(), data.site("tool").xmat, rtol=0, atol=1e-9)
            for name in env.task.bodies:
                np.testing.assert_allclose(state.pos(name)[i], data.body(name).xpos, rtol=0, atol=1e-9)
                np.testing.assert_allclose(state.rot(name)[i].ravel(), data.body(name).xmat, rtol=0, atol=1e-9)


def test_only_a_body_that_hangs_on_another_needs_the_engine():
    models = {task: MujocoVecEnv(task).worlds for task in TASKS}
    assert {task for task, w in models.items() if not all_loose(w.model, w.task.bodies)} == {"drawer_place"}
