"""RLPD: losses on numbers that can be worked out by hand, and learning without a base."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from step_toy import ACT, OBS, UNITS, Channels, actions, constant, learn, make_batch, make_learner, reread, success_rate

from robolearn.acting import ChunkActor
from robolearn.protocols import Policy
from robolearn.rl.gaussian import SquashedGaussian
from robolearn.rl.observer import Observer
from robolearn.rl.rlpd import RLPD
from robolearn.rl.units import VECTOR


def make(**changes):
    return make_learner(RLPD, "rlpd", **changes)


def observation(n):
    return {"observation.state": np.random.default_rng(0).standard_normal((n, 1, OBS), np.float32)}


# ---------------------------------------------------------------- actor


def test_the_log_density_is_that_of_the_squashed_gaussian():
    actor = SquashedGaussian(Observer(UNITS), 1, hidden=8)
    with torch.no_grad():
        actor.net.biases[-1][0, 0] = torch.tensor([0.3, -0.7])  # mu and log sigma
    noise = torch.linspace(-2, 2, 9)[:, None]
    x, log_prob = actor.draw(torch.zeros(9, OBS), noise)
    z = np.arctanh(x[:, 0].detach().numpy().astype(float))
    expected = stats.norm.logpdf(z, 0.3, math.exp(-0.7)) - np.log(1 - np.tanh(z) ** 2)
    np.testing.assert_allclose(log_prob.detach().numpy(), expected, atol=1e-4)


def test_the_log_density_is_the_mean_over_the_components():
    actor = SquashedGaussian(Observer(UNITS), 3, hidden=8)
    noise = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    _, together = actor.draw(torch.zeros(5, OBS), noise)
    alone = [actor.draw(torch.zeros(5, OBS), noise[:, [k]].expand(-1, 3))[1] for k in range(3)]
    torch.testing.assert_close(together, torch.stack(alone).mean(0))


def test_exploration_begins_evenly_within_the_bounds_and_then_follows_the_actor():
    learner = make(warmup_steps=100)
    policy = learner.acting(np.random.default_rng(0)).policy
    noise = np.random.default_rng(1).standard_normal((4000, ACT), np.float32)
    first = policy.predict_chunk(observation(4000), noise).values
    assert first.shape == (4000, 1, ACT)
    assert stats.kstest(first[:, 0, 0], "uniform", (-1, 2)).pvalue > 0.01
    learner.clock.steps = 100
    then = policy.predict_chunk(observation(4000), noise).values
    np.testing.assert_allclose(then[:, 0], np.tanh(noise), atol=1e-6)


def test_without_exploration_the_middle_is_taken():
    policy = make().acting(None).policy
    assert isinstance(policy, Policy)
    assert policy.noise_shape is None
    assert policy.predict_chunk(observation(3), n_samples=2).values.shape == (3, 2, 1, ACT)
    np.testing.assert_array_equal(policy.predict_chunk(observation(3)).values, 0.0)


def test_each_world_explores_by_its_own_seed():
    policy = make(warmup_steps=100).acting(np.random.default_rng(0)).policy
    frame = {key: values[:, 0] for key, values in observation(2).items()}
    both = ChunkActor(policy, 2)
    both.reset([5, 6])
    alone = ChunkActor(policy, 1)
    alone.reset([6])
    first = both.act(frame)
    np.testing.assert_array_equal(alone.act({key: v[1:] for key, v in frame.items()}), first[1:])
    assert (first[0] != first[1]).all()


# ---------------------------------------------------------------- losses


def test_the_td_loss_is_the_mean_of_the_heads_squared_errors():
    learner = make()
    constant(learner.critic, [1.0 + 0.4, 1.0 - 0.4])
    loss = learner.critic_loss(make_batch(reward=torch.ones(32), discount=torch.zeros(32)))
    assert loss.item() == pytest.approx(0.16)


def test_the_target_is_the_discounted_minimum_of_two_random_heads():
    learner = make(num_critics=4)
    constant(learner.critic_target, [0.2, 0.4, 0.6, 0.8])
    constant(learner.critic, [0.0] * 4)
    minima = {round(learner.critic_loss(make_batch()).item() ** 0.5 / 0.9, 3) for _ in range(60)}
    assert minima == {0.2, 0.4, 0.6}


def test_the_entropy_counts_in_the_target_where_asked_for():
    learner = make(backup_entropy="true", initial_temperature=0.5)
    log_prob = -2.0
    learner.actor.draw = lambda seen, noise: (torch.zeros(len(seen), ACT), torch.full((len(seen),), log_prob))
    constant(learner.critic_target, [3.0, 3.0])
    constant(learner.critic, [0.9 * (3.0 + 0.5 * 2.0)] * 2)
    assert learner.critic_loss(make_batch()).item() == pytest.approx(0, abs=1e-9)


def test_the_actor_weighs_its_entropy_against_the_mean_value():
    learner = make(initial_temperature=0.5)
    constant(learner.critic, [0.2, 0.8])
    loss, log_prob = learner.actor_loss(make_batch())
    assert loss.item() == pytest.approx(0.5 * log_prob.item() - 0.5, abs=1e-6)


def test_the_temperature_rises_where_the_entropy_is_too_small():
    learner = make(target_entropy=-0.5)
    for log_prob, sign in ((2.0, -1), (-2.0, 1)):  # a density above the target, and one below it
        (slope,) = torch.autograd.grad(learner.temperature_loss(torch.tensor(log_prob)), [learner.temperature["log"]])
        assert slope.item() == pytest.approx(-(log_prob - 0.5))
        assert np.sign(slope.item()) == sign


def test_no_gradient_reaches_the_target_or_the_actor_from_the_critics_loss():
    learner = make()
    learner.critic_loss(make_batch(reward=torch.ones(32))).backward()
    untouched = (learner.actor, learner.critic_target, learner.temperature)
    assert all(p.grad is None for module in untouched for p in module.parameters())


def test_the_actor_climbs_the_value():
    learner = make(initial_temperature=1e-6)
    torch.manual_seed(0)
    batch = make_batch()

    class Best:
        """Worth is how near the action is to 0.5."""

        parts = learner.critic.parts

        def __call__(self, seen, action):
            return -(action - 0.5).square().sum(dim=-1)[None, :, None]

    learner.critic = Best()
    optimizer = torch.optim.Adam(learner.actor.net.parameters(), lr=3e-2)
    for _ in range(100):
        loss, _ = learner.actor_loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    middle = torch.tanh(learner.actor(batch.frames[VECTOR])[0])
    assert (middle - 0.5).abs().max() < 0.2


# ---------------------------------------------------------------- as a whole


def test_it_learns_without_a_base_and_is_read_back(tmp_path):
    learner, policy, units = learn(RLPD, "rlpd", tmp_path / "run", total_steps=2000, initial_temperature=0.1)
    acting = learner.acting(None)
    assert success_rate(acting) > 0.9
    again = reread(learner, policy, units, tmp_path)
    assert again.correction is None
    np.testing.assert_array_equal(actions(again), actions(acting))


def test_of_the_policy_only_the_channels_are_used():
    assert make().acting(None).policy.schema is Channels.schema
