"""A recorded pose is the whole picture: joints and fixtures."""

import mujoco
import numpy as np
import pytest

from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.mirror import POSE, poses, set_pose
from robolearn.sim.tasks import TASKS


@pytest.mark.parametrize("task", TASKS)
def test_a_pose_puts_every_geom_where_it_is_in_its_world(task):
    env = MujocoVecEnv(task, num_envs=3, autoreset=False)
    worlds, model = env.worlds, env.worlds.model
    xpos, xmat = worlds.geom_poses
    env.reset(seed=5)
    env.step(np.zeros((3, *env.schema.action.shape)))
    data = mujoco.MjData(model)
    recorded = poses(worlds)
    assert recorded.shape == (3, mujoco.mj_stateSize(model, POSE))
    for world in (2, 0):
        set_pose(model, data, recorded[world])
        np.testing.assert_allclose(data.geom_xpos, xpos[world], atol=1e-12)
        np.testing.assert_allclose(data.geom_xmat, xmat[world], atol=1e-12)
    state = worlds.state
    for name, column in state.names.items():
        np.testing.assert_allclose(data.body(name).xpos, state.body_pos[0, column], atol=1e-12)


def test_a_recorded_pose_does_not_change_with_the_world():
    env = MujocoVecEnv("drawer_place", num_envs=1, autoreset=False)
    env.reset(seed=0)
    recorded = poses(env.worlds)
    kept = recorded.copy()
    env.reset(seed=1)
    np.testing.assert_array_equal(recorded, kept)
    assert (poses(env.worlds) != kept).any()
