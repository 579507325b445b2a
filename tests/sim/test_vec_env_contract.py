"""Our own worlds keep the contract of `VecEnv`."""

from functools import cache

import pytest
from vec_env_contract import CONTRACT, closes_twice

from robolearn.sim.backends.mujoco import MujocoVecEnv


@cache
def make(*, num_envs, autoreset):
    return MujocoVecEnv("lift", num_envs=num_envs, autoreset=autoreset, max_episode_steps=5)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_mujoco_keeps_the_contract(check):
    check(make)


def test_mujoco_closes_twice():
    closes_twice(make.__wrapped__)
