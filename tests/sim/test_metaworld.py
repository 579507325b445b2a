"""Meta-World behind our protocol: its own episodes, seeds, goals, success, and its scripts as experts."""

import sys
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest
from vec_env_contract import CONTRACT, play, random_actions

from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes
from robolearn.sim.backends.gymnasium import GymnasiumVecEnv
from robolearn.sim.experts.adapted import AdaptedExpert

pytestmark = [
    pytest.mark.skipif(find_spec("metaworld") is None, reason="needs the extra `metaworld`"),
    pytest.mark.filterwarnings("ignore:Constant.s. may be too high"),  # Meta-World's scripts ask for more than they can
]

ASSEMBLY = "Meta-World/assembly-v3"
TASKS = ("assembly-v3", "box-close-v3", "stick-pull-v3", "peg-insert-side-v3")
WELD = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0]


def make(task=ASSEMBLY, num_envs=1, max_episode_steps=200, **options):
    return GymnasiumVecEnv(
        task, num_envs=num_envs, max_episode_steps=max_episode_steps, reward="sparse", autoreset=False, **options
    )


@cache
def contracted(*, num_envs, autoreset):
    return GymnasiumVecEnv(ASSEMBLY, num_envs=num_envs, autoreset=autoreset, max_episode_steps=4)


@cache
def worlds(task=ASSEMBLY, num_envs=2):
    return make(task, num_envs)


@contextmanager
def untouched():
    """Meta-World as it is but for the one line that keeps it from running on MuJoCo 4."""
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "metaworld"}
    registered = dict(gymnasium.registry)
    for name in ours:
        del sys.modules[name]
    for name in [name for name in registered if name.startswith("Meta-World/")]:
        del gymnasium.registry[name]
    try:
        import metaworld
        from metaworld.sawyer_xyz_env import SawyerMocapBase

        SawyerMocapBase.reset_mocap_welds = lambda env: env.model.eq_data[:, :11].__setitem__(slice(None), WELD)
        yield metaworld
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "metaworld"]:
            del sys.modules[name]
        sys.modules.update(ours)
        gymnasium.registry.clear()
        gymnasium.registry.update(registered)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_assembly_keeps_the_contract(check):
    check(contracted)


@pytest.mark.parametrize("name", [TASKS[0], *[pytest.param(name, marks=pytest.mark.slow) for name in TASKS[1:]]])
def test_an_episode_is_meta_world_s_own(name):
    env = GymnasiumVecEnv(f"Meta-World/{name}", num_envs=2, autoreset=False)
    env.reset(seed=[8, 9])  # an episode before it
    seen, _ = env.reset(seed=[1, 5])
    with untouched():
        theirs = gymnasium.make("Meta-World/MT1", env_name=name, seed=0, disable_env_checker=True)
        theirs.unwrapped.np_random = np.random.Generator(np.random.PCG64(5))
        expected, _ = theirs.reset(seed=5)
        assert (theirs.unwrapped.model.eq_data[:, :11] == WELD).all()
        for action in random_actions(env, 15):
            np.testing.assert_array_equal(seen["observation.state"][1], expected.astype(np.float32))
            expected, gained, *_ = theirs.step(action)
            seen, reward, *_ = env.step(np.stack([-action, action]))
            assert reward[1] == gained


def test_the_benchmark_gives_the_same_episodes_as_the_task():
    benchmark = make("Meta-World/MT1", env_name="assembly-v3")
    assert benchmark.instructions == [""]
    np.testing.assert_array_equal(
        *(play(env, [4], steps=5)["observation.state"] for env in (benchmark, worlds(num_envs=1)))
    )
    assert benchmark.instructions == ["assembly"]


def test_goals_are_drawn_from_the_seed_alone_and_observed():
    env = worlds()
    goals = np.stack([env.reset(seed=seed)[0]["observation.state"][:, -3:] for seed in (0, 10, 20, 10)])
    np.testing.assert_array_equal(goals[1], goals[3])
    assert len(np.unique(goals[:3].reshape(-1, 3), axis=0)) >= 5
    assert np.ptp(goals[..., :2], axis=(0, 1)).min() > 0.03  # m
    other = make(seed=1)
    assert (other.reset(seed=10)[0]["observation.state"][0, -3:] != goals[1, 0]).any()


def test_nothing_of_an_episode_is_left_in_the_next():
    used, fresh = worlds(num_envs=1), make()
    play(used, [3], steps=60)
    a, b = (play(env, [7], steps=40)["observation.state"] for env in (used, fresh))
    np.testing.assert_array_equal(a, b)


def test_the_observation_holds_the_frame_before():
    env = worlds(num_envs=1)
    before, _ = env.reset(seed=2)
    assert env.schema["observation.state"].shape == (39,)
    np.testing.assert_array_equal(before["observation.state"][:, :18], before["observation.state"][:, 18:36])
    for action in random_actions(env, 3):
        after, *_ = env.step(action[None])
        np.testing.assert_array_equal(after["observation.state"][:, 18:36], before["observation.state"][:, :18])
        before = after


def test_it_says_what_it_is():
    env = worlds()
    assert (env.schema.fps, env.max_episode_steps, env.robot, env.task_name) == (80, 200, "sawyer", ASSEMBLY)
    assert env.schema.action.names == ("dx", "dy", "dz", "gripper")
    assert GymnasiumVecEnv(ASSEMBLY).max_episode_steps == 500
    env.reset(seed=0)
    assert env.instructions == ["assembly"] * 2


@pytest.mark.parametrize("task", ["Meta-World/asembly-v3", "Meta-World/assembly"])
def test_a_misspelt_task_is_explained(task):
    with pytest.raises(UserError, match=r"unknown task 'as?sembly(-v3)?' of Meta-World; did you mean 'assembly-v3'\?"):
        make(task)


# ---------------------------------------------------------------- experts


def demonstrate(env, *, noise=0.0, seeds=range(4), task=None):
    expert = AdaptedExpert(task or env.task_name, env.schema, env.num_envs, noise=noise)
    return run_episodes(env, expert, seeds, record=True)


def test_the_clean_expert_succeeds_and_the_episode_ends_there():
    env = worlds()
    for episode in demonstrate(env):
        assert episode.success
        assert episode.length < 120
        assert len(episode.frames["action"]) == episode.length
        assert (np.abs(episode.frames["action"]) <= 1).all()


def test_success_pays_once():
    env = worlds(num_envs=1)
    (episode,) = demonstrate(env, seeds=[1])
    env.reset(seed=[1])
    outcomes = [env.step(action[None]) for action in episode.frames["action"]]
    assert [float(outcome[1][0]) for outcome in outcomes] == [0.0] * (episode.length - 1) + [1.0]
    assert [bool(outcome[2][0]) for outcome in outcomes] == [False] * (episode.length - 1) + [True]
    assert not any(outcome[3].any() for outcome in outcomes)


def test_noise_is_of_the_episode_s_seed_alone():
    alone, together = (demonstrate(env, noise=0.3, seeds=[5, 2]) for env in (worlds(num_envs=1), worlds()))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.frames["action"], b.frames["action"])
    clean = demonstrate(worlds(), seeds=[5])[0].frames["action"]
    noisy = alone[0].frames["action"]
    assert np.abs(noisy[:20, :3] - clean[:20, :3]).mean() > 0.02
    assert set(noisy[:, 3]) == set(clean[:, 3])  # the gripper has none


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), list(zip(TASKS, (20, 17, 19, 13), strict=True)))
def test_the_clean_expert_succeeds_mostly(name, least):
    episodes = demonstrate(worlds(f"Meta-World/{name}", 10), seeds=range(20))
    assert sum(episode.success for episode in episodes) >= least


@pytest.mark.slow
def test_every_task_has_an_expert():
    import metaworld

    for name in metaworld.ALL_V3_ENVIRONMENTS:
        env = make(f"Meta-World/{name}", max_episode_steps=3)
        (episode,) = demonstrate(env, noise=0.1, seeds=[0])
        assert episode.frames["action"].shape == (3, 4)


def test_experts_that_cannot_be_are_refused():
    env = worlds()
    with pytest.raises(UserError, match="no scripted expert for task 'Pendulum-v1'"):
        AdaptedExpert("Pendulum-v1", env.schema, 1)
    with pytest.raises(UserError, match="no scripted expert for 'Meta-World/MT1': name a single task"):
        AdaptedExpert("Meta-World/MT1", env.schema, 1)
    with pytest.raises(UserError, match=r"expert\.noise must be 0 or more"):
        AdaptedExpert(ASSEMBLY, env.schema, 1, noise=-0.1)
