"""Stable-Baselines3's SAC with hindsight goals in the comparison of online RL."""

import numpy as np
import pytest

from robolearn.bench import _rl_judge, _sac_her
from robolearn.bench._rl_problems import PROBLEMS, SAC_HER, runs_of
from robolearn.bench._verbs import collect
from robolearn.data.dataset import EpisodeDataset

TASK = "fetch_pick_and_place"
TOY = SAC_HER | {"hidden": (8,), "batch_size": 8, "learning_starts": 20}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A demonstration with the noise of the comparison."""
    out = tmp_path_factory.mktemp("shown")
    words = (f"task={TASK}", "expert=scripted", "expert.noise=0.3", "env.num_envs=1")
    collect(words, num_episodes=1, seed=0, out=out)
    return out


@pytest.mark.slow
def test_it_learns_for_its_budget_and_is_judged_on_the_way(shown, monkeypatch):
    monkeypatch.setattr(_rl_judge, "EPISODES", 2)
    found = _sac_her.learn(TASK, TOY, dataset=shown, budget=150, every=100, seed=0)
    assert [point["steps"] for point in found["curve"]] == [0, 100, 150]
    assert len(found["outcomes"]) == 2
    assert found["act_ms"]["mean"] > 0


def test_it_stops_where_two_evaluations_are_good(shown, monkeypatch):
    monkeypatch.setattr(_sac_her, "successes", lambda *_, **__: [True])
    found = _sac_her.learn(TASK, TOY, dataset=shown, budget=1000, every=50, seed=0)
    assert [point["steps"] for point in found["curve"]] == [0, 50]


def test_the_replay_begins_with_the_demonstrations_and_their_success(shown):
    env = _sac_her._native(TASK)
    model = _sac_her._model(env, TOY, seed=0)
    _sac_her._show(model, _sac_her._native(TASK), shown)
    data, replay = EpisodeDataset.load(shown), model.replay_buffer
    assert replay.size() == data.num_frames
    np.testing.assert_allclose(
        replay.observations["observation"][: data.num_frames, 0], data.channels[_sac_her.STATE], atol=1e-3
    )
    rewards = replay.rewards[: data.num_frames, 0]
    assert rewards[-1] == 0
    assert (rewards[:-1] == -1).all()
    assert replay.dones[data.num_frames - 1, 0] == 1  # an episode of hindsight ends, its value does not
    assert replay.timeouts[data.num_frames - 1, 0] == 1


def test_a_demonstration_that_comes_out_otherwise_is_no_demonstration(shown, monkeypatch):
    data = EpisodeDataset.load(shown)
    data.channels["action"][:] *= -1
    monkeypatch.setattr(EpisodeDataset, "load", lambda _: data)
    env = _sac_her._native(TASK)
    with pytest.raises(RuntimeError, match="another state"):
        _sac_her._show(_sac_her._model(env, TOY, seed=0), env, shown)


def test_its_runs_know_what_they_depend_on():
    (one,) = (one for one in runs_of("P5") if one.algorithm == "sac_her")
    assert one.outside == SAC_HER
    assert one.settings["algo"] == SAC_HER
    assert one.settings["budget"] == PROBLEMS["P5"].budget
