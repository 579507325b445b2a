"""The scripted expert: succeeds when clean, fails with noise, walks through the stages."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.experts.scripted import ScriptedExpert


def demonstrate(seeds, *, noise=0.0, num_envs=10, record=False):
    env = MujocoVecEnv(num_envs=num_envs, autoreset=False)
    expert = ScriptedExpert("lift", env.schema, num_envs, noise=noise)
    episodes = run_episodes(env, expert, seeds, record=record)
    env.close()
    return episodes


def rate(episodes):
    return np.mean([episode.success for episode in episodes])


def test_the_clean_expert_always_succeeds():
    assert rate(demonstrate(range(50))) == 1.0


def test_noise_costs_success():
    seeds = range(40)
    some, much = (rate(demonstrate(seeds, noise=noise)) for noise in (0.5, 1.5))
    assert 1.0 > some > much


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_demonstration_does_not_depend_on_its_neighbours(noise):
    seeds = [5, 2, 9, 4, 7]
    together = demonstrate(seeds, noise=noise, num_envs=3, record=True)
    for seed, episode in zip(seeds, together, strict=True):
        (alone,) = demonstrate([seed], noise=noise, num_envs=1, record=True)
        assert (episode.seed, episode.success, episode.length) == (seed, alone.success, alone.length)
        for key, values in alone.frames.items():
            np.testing.assert_array_equal(values, episode.frames[key])


def test_the_stages_come_in_order():
    for episode in demonstrate(range(8), record=True):
        stage = episode.frames["observation.stage"]
        assert stage[0] == 0
        assert sorted(set(stage.tolist())) == [0, 1, 2]  # the frame after the last action is not recorded
        first = [int(np.argmax(stage == k)) for k in range(3)]
        assert first == sorted(first)


def test_a_dropped_cube_is_grasped_again():
    env = MujocoVecEnv(autoreset=False, max_episode_steps=200)
    expert = ScriptedExpert("lift", env.schema, 1)
    expert.reset([0])
    observation, _ = env.reset(seed=[0])
    stages, dropped = [], False
    for _ in range(200):
        action = expert.act(observation)
        if not dropped and stages and stages[-1] == 2 and observation["observation.environment_state"][0, 2] > 0.06:
            dropped = True
            for _ in range(6):  # something opens the gripper
                observation, _, _, _, info = env.step(action * 0 + np.array((0, 0, 0, 0, 0.08), np.float32))
                stages.append(int(info["stage"][0]))
            continue
        observation, _, terminated, _, info = env.step(action)
        stages.append(int(info["stage"][0]))
        if terminated[0]:
            break
    assert dropped
    fall = next(t for t in range(1, len(stages)) if stages[t] < stages[t - 1])
    assert stages[fall - 1] == 2
    assert stages[fall] < 2
    assert stages[-1] == 3


@pytest.mark.parametrize(
    ("task", "space", "noise", "sentence"),
    [
        ("lfit", "ee_delta", 0.0, "no scripted expert for task 'lfit'; did you mean 'lift'?"),
        ("lift", "joint_delta", 0.0, "acts in task.action_space=ee_delta"),
        ("lift", "ee_delta_6d", 0.0, "acts in task.action_space=ee_delta"),
        ("lift", "ee_delta", -0.1, "expert.noise must be 0 or more"),
    ],
)
def test_what_it_cannot_do_is_explained(task, space, noise, sentence):
    env = MujocoVecEnv(action_space=space)
    with pytest.raises(UserError) as error:
        ScriptedExpert(task, env.schema, 1, noise=noise)
    assert sentence in str(error.value)


def test_actions_are_within_their_bounds():
    env = MujocoVecEnv(num_envs=4)
    expert = ScriptedExpert("lift", env.schema, 4, noise=5.0)
    expert.reset(range(4))
    observation, _ = env.reset(seed=0)
    for _ in range(5):
        assert env.action_space.contains(expert.act(observation))
