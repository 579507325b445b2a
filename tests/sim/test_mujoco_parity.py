"""One world and many give the same trajectory bit for bit, also where the gripper holds, pushes and drops things."""

import numpy as np
import pytest

from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.experts.scripted import ScriptedExpert

SEED, PLACE, STEPS = 7, 5, 50


def recorded_actions(task):
    """What the expert does in the world of SEED while every sixth action is drawn at random."""
    env = MujocoVecEnv(task, autoreset=False)
    expert = ScriptedExpert(task, env.schema, 1)
    expert.reset([SEED])
    observation, info = env.reset(seed=[SEED])
    rng, space, actions, stages = np.random.default_rng(SEED), env.single_action_space, [], [info["stage"][0]]
    for k in range(STEPS):
        action = rng.uniform(space.low, space.high)[None] if k % 6 == 5 else expert.act(observation)
        observation, _, _, _, info = env.step(action)
        actions.append(action[0])
        stages.append(info["stage"][0])
    assert max(stages) >= 2  # it did get hold of something
    return np.array(actions)


def trajectory(env, seeds, actions, place):
    """Positions [steps, nq] of one world, whose actions are given; the others do something else."""
    rng = np.random.default_rng(1)
    space = env.single_action_space
    env.reset(seed=seeds)
    seen = []
    for action in actions:
        everyone = rng.uniform(space.low, space.high, (env.num_envs, *space.shape))
        everyone[place] = action
        env.step(everyone)
        seen.append(env.worlds.qpos[place].copy())
    return np.array(seen)


@pytest.mark.parametrize("task", ["lift", "stack"])
def test_one_world_and_many_give_the_same_trajectory(task):
    actions = recorded_actions(task)
    alone = trajectory(MujocoVecEnv(task, autoreset=False), [SEED], actions, 0)
    for num_envs, threads in ((8, 1), (8, 2)):
        env = MujocoVecEnv(task, num_envs=num_envs, threads=threads, autoreset=False)
        seeds = [SEED if i == PLACE else 100 + i for i in range(num_envs)]
        np.testing.assert_array_equal(trajectory(env, seeds, actions, PLACE), alone)
    assert np.abs(np.diff(alone, axis=0)).max() > 1e-3
