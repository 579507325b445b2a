"""Cameras on the command line, and poses of recorded episodes."""

import mujoco
import numpy as np

from robolearn.commands.common import evaluate
from robolearn.commands.strips import draw
from robolearn.commands.view import RandomActor
from robolearn.commands.worlds import make_env
from robolearn.compose import build, compose
from robolearn.sim.mirror import set_pose


def test_a_configuration_names_the_cameras():
    config = build("collect", compose("collect", ["env=images", "env.num_envs=1", "env.image_size=20"]))
    env = make_env(config.task, config.robot, config.env)
    observation, _ = env.reset(seed=0)
    for name in ("external", "wrist"):
        assert observation[f"observation.images.{name}"].shape == (1, 20, 20, 3)
    env.close()
    assert build("collect", compose("collect", [])).env.cameras == []


def test_recorded_poses_hold_the_fixtures():
    config = build("view", compose("view", ["task=drawer_place", "task.max_episode_steps=1"]))
    env = make_env(config.task, config.robot, config.env)
    zero = np.zeros(env.schema.action.shape, np.float32)
    (episode,) = evaluate(env, RandomActor(zero, zero), first_seed=8, episodes=1, record=True)
    data = mujoco.MjData(env.worlds.model)
    set_pose(env.worlds.model, data, episode.frames["pose"][0])
    at = env.schema["observation.environment_state"].names.index("cabinet_x")
    cabinet = episode.frames["observation.environment_state"][0, at : at + 3]
    np.testing.assert_allclose(data.body("cabinet").xpos, cabinet, atol=1e-6)
    assert np.linalg.norm(cabinet[:2]) > 0.2  # not where it was built
    strip = draw(env, episode.frames["pose"], episode.frames["observation.stage"])
    assert strip.ndim == 3
    env.close()
