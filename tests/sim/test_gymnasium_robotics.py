"""Gymnasium-Robotics' Fetch behind our protocol, on a MuJoCo that it was not written for, and our script for it."""

from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
from vec_env_contract import CONTRACT, play, random_actions

from robolearn.eval.rollout import run_episodes
from robolearn.sim.backends.gymnasium import GymnasiumVecEnv
from robolearn.sim.backends.gymnasium_ids import make_single
from robolearn.sim.experts.adapted import AdaptedExpert

pytestmark = pytest.mark.skipif(find_spec("gymnasium_robotics") is None, reason="needs the extra `fetch`")

PICK = "FetchPickAndPlace-v4"
STATE, GOALS = "observation.state", "observation.environment_state"


@cache
def contracted(*, num_envs, autoreset):
    return GymnasiumVecEnv(PICK, num_envs=num_envs, autoreset=autoreset, max_episode_steps=4)


@cache
def worlds(num_envs=2):
    return GymnasiumVecEnv(PICK, num_envs=num_envs, reward="sparse", autoreset=False)


def demonstrate(env, *, noise=0.0, seeds=range(6)):
    expert = AdaptedExpert(env.task_name, env.schema, env.num_envs, noise=noise)
    return run_episodes(env, expert, seeds, record=True)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    check(contracted)


def test_it_says_what_it_is():
    env = worlds()
    assert (env.schema.fps, env.max_episode_steps, env.robot, env.task_name) == (25, 50, "fetch", PICK)
    assert env.schema.action.names == ("dx", "dy", "dz", "gripper")
    assert env.schema[STATE].shape == (25,)
    assert env.schema[GOALS].names[3:] == tuple(f"desired_goal_{i}" for i in range(3))


def test_block_and_goal_are_drawn_from_the_seed_alone():
    env, theirs = worlds(), make_single(PICK)
    play(env, [3, 4], steps=20)
    observation, _ = env.reset(seed=[5, 6])
    expected, _ = theirs.reset(seed=6)
    np.testing.assert_array_equal(observation[STATE][1], expected["observation"].astype(np.float32))
    np.testing.assert_array_equal(observation[GOALS][1, 3:], expected["desired_goal"].astype(np.float32))
    assert (observation[GOALS][0] != observation[GOALS][1]).any()
    for action in random_actions(env, 10):
        observation, *_ = env.step(np.stack([-action, action]))
        expected, *_ = theirs.step(action)
        np.testing.assert_array_equal(observation[STATE][1], expected["observation"].astype(np.float32))


def test_the_block_falls_and_the_fingers_open():
    """The physics that the patched functions set up: joints, and the weld that moves the hand."""
    env = worlds(1)
    before, _ = env.reset(seed=0)
    for _ in range(10):
        after, *_ = env.step(np.array([[0.0, 0.0, 1.0, 1.0]]))
    assert after[STATE][0, 2] - before[STATE][0, 2] > 0.1  # the hand rises, m
    assert after[STATE][0, 9:11] == pytest.approx([0.05, 0.05], abs=0.002)
    assert after[STATE][0, 5] == pytest.approx(0.425, abs=0.003)  # the block lies on the table


def test_the_clean_expert_always_succeeds_and_success_ends_the_episode():
    for episode in demonstrate(worlds()):
        assert episode.success
        assert 1 < episode.length < 30


def test_success_pays_once():
    env = worlds(1)
    (episode,) = demonstrate(env, seeds=[1])
    env.reset(seed=[1])
    rewards = [float(env.step(action[None])[1][0]) for action in episode.frames["action"]]
    assert rewards == [0.0] * (episode.length - 1) + [1.0]


def test_a_block_that_is_taken_away_is_fetched_again():
    env = worlds(1)
    expert = AdaptedExpert(PICK, env.schema, 1)
    expert.reset([1])
    observation, _ = env.reset(seed=[1])
    for k in range(40):
        action = expert.act(observation)
        if 12 <= k < 16:
            action[0] = (0, 0, 0.5, 1)  # lets go
        observation, *_, info = env.step(action)
        if info["success"][0]:
            return
    pytest.fail("it did not get there")


def test_noise_makes_it_slower():
    clean, noisy = ([e.length for e in demonstrate(worlds(), noise=noise)] for noise in (0.0, 0.5))
    assert np.mean(noisy) > np.mean(clean)
