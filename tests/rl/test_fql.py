"""Flow Q-learning: losses on known numbers, and learning."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from chunk_toy import Forked, Silent, batch_of, chunk_config, constant, learn
from rl_toy import make_units

from robolearn.errors import UserError
from robolearn.rl.fql import FQL

UNITS = make_units(Forked.schema)


def make(**changes):
    return FQL(chunk_config("fql", **changes), policy=Forked(), units=UNITS, seed=0)


def told(n=5):
    rng = np.random.default_rng(0)
    observation = {"observation.state": rng.uniform(-1, 1, (n, 1, 2)).astype(np.float32)}
    return observation, rng.standard_normal((n, 4, 1)).astype(np.float32)


def test_the_policy_of_one_step_plans_what_is_executed():
    policy = make().acting(None).policy
    observation, noise = told()
    chunk = policy.predict_chunk(observation, noise)
    assert chunk.values.shape == (5, 3, 1)
    assert policy.horizon == policy.n_action_steps == 3
    assert np.abs(chunk.values).max() <= 0.2
    np.testing.assert_array_equal(chunk.values, policy.predict_chunk(observation, noise).values)


def test_samples_of_one_observation_are_those_of_each_alone():
    policy = make().acting(None).policy
    observation, noise = told()
    both = policy.predict_chunk(observation, np.stack((noise, -noise), 1).reshape(-1, 4, 1), n_samples=2).values
    np.testing.assert_allclose(both[:, 1], policy.predict_chunk(observation, -noise).values, atol=1e-6)


def test_the_base_explores_until_the_policy_improves():
    algorithm = make(critic_warmup_updates=4)
    policy = algorithm.acting(np.random.default_rng(0)).policy
    observation, noise = told()
    base = Forked().predict_chunk(observation, noise).values[:, :3]
    np.testing.assert_array_equal(policy.predict_chunk(observation, noise).values, base)
    algorithm.clock.updates = 5
    assert (policy.predict_chunk(observation, noise).values != base).any()


def test_a_base_that_stands_by_more_than_is_executed_explores_too():
    class Bold(Forked):
        def predict_chunk(self, observation, noise=None, n_samples=1):
            chunk = super().predict_chunk(observation, noise, n_samples)
            return replace(chunk, n_valid=np.full(len(chunk.values), 4))

    algorithm = FQL(chunk_config("fql", critic_warmup_updates=4), policy=Bold(), units=UNITS, seed=0)
    chunk = algorithm.acting(np.random.default_rng(0)).policy.predict_chunk(*told())
    assert chunk.n_valid.tolist() == [chunk.horizon] * 5


def test_a_base_without_noise_is_refused():
    with pytest.raises(UserError, match="draws no noise"):
        FQL(chunk_config("fql"), policy=Silent(), units=UNITS, seed=0)


def test_the_critic_loss_is_the_mean_squared_error_of_the_heads():
    algorithm = make()
    constant(algorithm.critic, 0.1, 0.3)
    constant(algorithm.target_critic, 0.6, 0.4)
    loss = algorithm.critic_loss(batch_of([0.0, 0.9], [0.5, 0.0]))
    assert loss.item() == pytest.approx((0.1**2 + 0.8**2 + 0.1**2 + 0.6**2) / 4, rel=1e-5)


def test_the_policy_stays_with_the_base():
    algorithm = make()
    algorithm.actor.net.zero_last()
    plans = torch.tensor([[[0.1] * 3, [0.2] * 3], [[0.3] * 3, [0.4] * 3]])
    loss = algorithm.distillation_loss(torch.zeros(2, 2), torch.randn(2, 2, 4), plans)
    assert loss.item() == pytest.approx((0.01 + 0.04 + 0.09 + 0.16) / 4, rel=1e-5)


def test_values_are_improved_in_units_of_their_size():
    algorithm = make()
    for scale in (0.2, 0.8):
        constant(algorithm.critic, -scale, -scale / 2)
        assert algorithm.improvement_loss(torch.zeros(6, 2)).item() == pytest.approx(1.0, rel=1e-4)


def test_one_step_learns_more_than_the_base_can(tmp_path):
    sizes = {"hidden": 64, "batch_size": 64, "actor_lr": 1e-3, "critic_lr": 1e-3, "demo_ratio": 0.25}
    steps = {"total_steps": 1440, "warmup_steps": 480, "critic_warmup_updates": 200, "eval_every": 1440, "utd": 0.5}
    _, curve = learn("fql", FQL, tmp_path, distillation_weight=0.3, **sizes, **steps)
    assert curve[0]["success"] < 0.75
    assert curve[-1]["success"] > 0.9
