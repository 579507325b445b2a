"""PPO of a residual: nothing changes at first, its density by hand, its files, and that it learns."""

import numpy as np
import pytest
import torch
from on_policy_toy import LEARNING, SMALL, Training, collect, make_algorithm, make_policy, shake, success
from rl_toy import Biased, make_units
from torch.distributions import Normal

from robolearn.acting import ChunkActor
from robolearn.rl.correction import load_residual
from robolearn.rl.interaction import BASE
from robolearn.rl.ppo_residual import PPOResidual


def make(policy=None, **changes):
    policy = Biased() if policy is None else policy
    return make_algorithm(PPOResidual, "ppo_residual", policy, **(SMALL | {"residual_scale.default": 0.5} | changes))


def test_at_first_the_actions_are_the_bases_own_bits():
    algorithm = make()
    acting = algorithm.acting(None)
    alone, corrected = ChunkActor(Biased(), 5), ChunkActor(acting.policy, 5, acting.correction)
    for actor in (alone, corrected):
        actor.reset(list(range(5)))
    for seed in range(6):
        seen = {"observation.state": np.random.default_rng(seed).uniform(-1, 1, (5, 2)).astype(np.float32)}
        np.testing.assert_array_equal(alone.act(seen), corrected.act(seen))


def test_the_ratio_is_one_on_the_first_minibatch(tmp_path):
    algorithm = make()
    shake(algorithm.actor, by=0.1)
    rollout = collect(algorithm, tmp_path)
    with torch.no_grad():
        log_ratio = algorithm.log_ratio(rollout.part(torch.randperm(len(rollout.steps))[:31]))
    assert log_ratio.abs().max() < 1e-5


def test_the_ratio_is_the_change_of_the_gaussians_density(tmp_path):
    algorithm = make(initial_std=0.4)
    rollout = collect(algorithm, tmp_path)
    old = Normal(torch.zeros(160, 1), 0.4).log_prob(rollout.note["residual"])[:, 0]
    torch.testing.assert_close(rollout.note["log_prob"], old)
    shake(algorithm.actor, by=0.1)
    shake(algorithm.noise, by=0.1)
    with torch.no_grad():
        read = torch.cat((rollout.frames["obs"], rollout.note[BASE]), dim=1)
        mean, std = torch.tanh(algorithm.actor.net(read)[0]), algorithm.noise.log_std.exp()
        new = Normal(mean, std).log_prob(rollout.note["residual"])[:, 0]
        torch.testing.assert_close(algorithm.log_ratio(rollout), new - old)


def test_what_is_executed_is_base_and_drawn_residual_clipped(tmp_path):
    algorithm = make(initial_std=1.0)
    training = Training(algorithm, tmp_path)
    executed = []
    step = training.env.step
    training.env.step = lambda actions: (executed.append(actions.copy()), step(actions))[1]
    note = training.source.collect(3, lambda frames: torch.zeros(len(frames["obs"])), gamma=1.0, lam=1.0).note
    expected = (note[BASE] + 0.5 * note["residual"]).clamp(-1, 1).numpy() * 0.2
    np.testing.assert_allclose(np.concatenate(executed), expected, atol=1e-6)


def test_the_files_are_those_of_a_residual(tmp_path):
    algorithm = make()
    shake(algorithm.actor, by=0.1)
    algorithm.save(tmp_path)
    loaded = load_residual(tmp_path, make_units(Biased.schema))
    rng = np.random.default_rng(0)
    seen = {"observation.state": rng.uniform(-1, 1, (5, 2)).astype(np.float32)}
    base = rng.uniform(-0.2, 0.2, (5, 1)).astype(np.float32)
    found, expected = loaded(seen, base), algorithm.acting(None).correction(seen, base)
    np.testing.assert_array_equal(found, expected)
    assert np.abs(expected - base).max() > 1e-3


@pytest.mark.parametrize("base", [Biased, lambda: make_policy(train=600)], ids=["any policy", "a flow"])
def test_it_learns_where_the_base_goes_beside_the_goal(base, tmp_path):
    algorithm = make(base(), **LEARNING)
    curve = Training(algorithm, tmp_path).run()
    assert curve[0]["success"] < 0.5
    assert success(algorithm.acting(None), episodes=100) > 0.9
