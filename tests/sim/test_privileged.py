"""Privileged worlds: plain at level 0, helpful above, and nothing of it in what a deployable policy may use."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.curriculum import Curriculum
from robolearn.sim.privileged import ACTION, LEVEL, Privilege, PrivilegedVecEnv


def make(level, *, task="lift", num_envs=2, privilege=None, **options):
    env = MujocoVecEnv(task, num_envs=num_envs, reward="stages", **options)
    return PrivilegedVecEnv(env, Curriculum(level=level, below_share=0.0), privilege or Privilege())


def still(env):
    action = np.zeros((env.num_envs, env.single_action_space.shape[0]))
    action[:, env.env.schema.action.shape[0] - 1] = 0.08
    return action


def lower_onto_the_cube(env):
    """Bring the tool to the cube without touching it, so that the wrench acts in full."""
    for _ in range(40):
        state, action = env.env.worlds.state, still(env)
        way = state.pos("cube") - state.tool_pos + np.array((0, 0, 0.06))
        action[:, :3] = np.clip(0.3 * way, -0.02, 0.02)
        env.step(action)


def test_level_zero_is_the_plain_world_bit_for_bit():
    env, plain = make(0.0), MujocoVecEnv("lift", num_envs=2, reward="stages")
    observation, _ = env.reset(seed=4)
    expected, _ = plain.reset(seed=4)
    rng = np.random.default_rng(0)
    for _ in range(100):  # through a time limit
        for key in expected:
            np.testing.assert_array_equal(observation[key], expected[key])
        np.testing.assert_array_equal(observation[LEVEL], 0.0)
        action = rng.uniform(env.action_space.low, env.action_space.high)
        observation, reward, *_ = env.step(action)
        expected, other, *_ = plain.step(action[:, :5])
        np.testing.assert_array_equal(reward, other)


def test_the_wrench_lifts_the_cube_at_level_one_and_not_at_level_zero():
    rises = {}
    for level in (1.0, 0.0):
        env = make(level)
        env.reset(seed=0)
        lower_onto_the_cube(env)
        action = still(env)
        action[:, 5 + 2] = np.inf  # up, clipped to the largest force
        for _ in range(10):
            env.step(action)
        rises[level] = env.env.worlds.state.pos("cube")[:, 2] - 0.02
    assert (rises[1.0] > 0.01).all()
    assert (np.abs(rises[0.0]) < 0.001).all()


def test_the_wrench_does_not_reach_an_object_far_from_the_hand():
    env = make(1.0, privilege=Privilege(reach=0.05))
    env.reset(seed=0)
    action = still(env)
    action[:, 5 + 2] = np.inf
    for _ in range(10):
        env.step(action)
    assert (np.abs(env.env.worlds.state.pos("cube")[:, 2] - 0.02) < 0.001).all()


def test_an_object_in_a_privileged_world_sinks_slowly():
    heights = {}
    for level in (1.0, 0.0):
        env = make(level)
        env.reset(seed=0)
        at = env.env.worlds.model.joint("cube").qposadr[0]
        env.env.worlds.qpos[:, at + 2] = 0.15
        env.env.worlds.qpos[:, at] += 0.15  # away from the arm
        env.step(still(env))
        env.step(still(env))
        heights[level] = env.env.worlds.state.pos("cube")[:, 2]
    fall = 0.15 - 0.5 * 9.81 * 0.1**2
    np.testing.assert_allclose(heights[0.0], fall, atol=5e-3)
    # terminal velocity g / damping, soon reached
    np.testing.assert_allclose(heights[1.0], 0.15 - 9.81 / 40 * 0.1, atol=8e-3)


def test_levels_are_drawn_at_the_beginning_of_an_episode():
    env = make(0.6, max_episode_steps=5)
    env.reset(seed=0)
    for t in range(10):
        observation, _, _, truncated, info = env.step(still(env))
        np.testing.assert_array_equal(info["level"], 0.6 if t < 5 else 0.2)
        env.curriculum.level = 0.2  # counts from the next episode on
        assert truncated.all() == (t in (4, 9))
    np.testing.assert_allclose(observation[LEVEL], 0.2)


def test_the_final_observation_has_the_level_of_its_own_episode():
    env = make(0.6, max_episode_steps=3)
    env.reset(seed=0)
    env.curriculum.level = 0.2
    for _ in range(3):
        observation, *_, info = env.step(still(env))
    np.testing.assert_allclose(info["final_obs"][LEVEL], 0.6)
    np.testing.assert_allclose(observation[LEVEL], 0.2)


def test_relaxed_constraints_follow_the_level():
    env = make(0.5)
    env.reset(seed=0)
    worlds, privilege = env.env.worlds, env.privilege
    model, share = worlds.model, 0.5
    friction = worlds.read_model("geom_friction")
    cube, pad = model.geom("cube").id, model.geom("panda_finger_joint1_pad").id
    relaxed = model.geom_friction[cube] * (1 - share * (1 - privilege.friction))
    np.testing.assert_allclose(friction[:, cube], np.tile(relaxed, (2, 1)))
    np.testing.assert_allclose(friction[:, pad], np.tile(model.geom_friction[pad], (2, 1)))
    np.testing.assert_allclose(worlds.read_model("geom_margin")[:, pad], share * privilege.margin)
    joint = model.joint("panda_joint1").id
    np.testing.assert_allclose(
        worlds.read_model("jnt_range")[:, joint],
        np.tile(model.jnt_range[joint] + (-share * privilege.joint_slack, share * privilege.joint_slack), (2, 1)),
    )


def test_deployable_and_privileged_channels_are_apart():
    env = make(1.0)
    assert env.schema[ACTION].role == env.schema[LEVEL].role == "privileged"
    assert env.schema.observation_keys == env.env.schema.observation_keys
    assert env.schema.action == env.env.schema.action
    assert env.schema[ACTION].names[:3] == ("cube_fx", "cube_fy", "cube_fz")
    assert env.single_action_space.shape == (5 + 6,)
    weight = 9.81 * env.env.worlds.model.body("cube").mass[0]
    np.testing.assert_allclose(env.schema[ACTION].high[:3], 1.2 * weight, rtol=1e-9)


def test_effort_costs_what_the_privilege_says():
    env = make(1.0, privilege=Privilege(effort_penalty=0.5))
    env.reset(seed=0)
    free = env.step(still(env))[1]
    action = still(env)
    action[:, 5:] = env.single_action_space.high[5:]
    np.testing.assert_allclose(env.step(action)[1] - free, -0.5, atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"force": -1.0}, {"friction": 0.0}, {"speed": 0.5}, {"reach": 0.0}, {"damping": -1.0}]
)
def test_an_impossible_privilege_is_refused(wrong):
    with pytest.raises(UserError, match="privilege"):
        Privilege(**wrong)
