"""Noise steering: distribution of the noise, losses on known numbers, and learning."""

import math

import numpy as np
import pytest
import torch
from chunk_toy import Forked, Silent, base_success, batch_of, chunk_config, constant, learn, success_of
from rl_toy import demonstrations, make_units

from robolearn.errors import UserError
from robolearn.rl.experience import Experience, relabelled
from robolearn.rl.gaussian import SquashedGaussian
from robolearn.rl.noise_steering import NoiseSteering
from robolearn.rl.observer import Observer
from robolearn.rl.refinement import load_refinement

BOUND = 1.5


def make(**changes):
    base = Forked()
    return NoiseSteering(chunk_config("noise_steering", **changes), policy=base, units=make_units(base.schema), seed=0)


def told(n=5):
    rng = np.random.default_rng(0)
    observation = {"observation.state": rng.uniform(-1, 1, (n, 1, 2)).astype(np.float32)}
    return observation, rng.standard_normal((n, 4, 1)).astype(np.float32)


def shake(actor):
    """Give the actor random weights, also in its last layer."""
    with torch.no_grad():
        for weight in actor.net.parameters():
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()]).clone()


def test_the_actor_begins_as_the_noise_of_the_base_softly_bounded():
    algorithm = make()
    seen, noise = torch.randn(6, 2), torch.randn(6, 4)
    drawn, _ = algorithm.actor.draw(seen, noise)
    torch.testing.assert_close(drawn, BOUND * torch.tanh(noise / BOUND))
    assert (drawn - noise)[noise.abs() < 0.5].abs().max() < 0.02


def test_the_first_success_is_nearly_that_of_the_base():
    assert abs(success_of(make().acting(None), episodes=200) - base_success()) < 0.08


def test_noise_stays_within_its_bound():
    algorithm = make(noise_bound=0.7)
    shake(algorithm.actor)
    drawn, _ = algorithm.actor.draw(3 * torch.randn(50, 2), 5 * torch.randn(50, 4))
    assert 0.6 < drawn.abs().max() <= 0.7


def test_the_likelihood_is_that_of_a_squashed_gaussian_per_component():
    actor = SquashedGaussian(Observer(make_units(Forked.schema)), 4, hidden=8, bound=BOUND)
    with torch.no_grad():
        actor.net.biases[-1].copy_(torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(0)))
    seen, noise = torch.randn(6, 2), torch.randn(6, 4)
    drawn, log_prob = actor.draw(seen, noise)
    mean, log_std = actor(seen)
    gaussian = torch.distributions.Normal(mean, log_std.exp())
    squashed = torch.distributions.TransformedDistribution(gaussian, torch.distributions.TanhTransform())
    torch.testing.assert_close(log_prob, squashed.log_prob(drawn / BOUND).mean(dim=1), atol=1e-4, rtol=1e-4)


def test_the_base_explores_bit_for_bit_until_the_actor_learns():
    algorithm = make(critic_warmup_updates=4)
    policy = algorithm.acting(np.random.default_rng(0)).policy
    shake(algorithm.actor)
    observation, noise = told()
    base = Forked().predict_chunk(observation, noise).values
    algorithm.clock.updates = 4
    np.testing.assert_array_equal(policy.predict_chunk(observation, noise).values, base)
    algorithm.clock.updates = 5
    assert (policy.predict_chunk(observation, noise).values != base).any()


def test_samples_of_one_observation_are_those_of_each_alone():
    algorithm = make()
    shake(algorithm.averaged)
    policy = algorithm.acting(None).policy
    observation, noise = told()
    both = np.stack((noise, 2 * noise), axis=1).reshape(-1, 4, 1)
    values = policy.predict_chunk(observation, both, n_samples=2).values
    assert values.shape == (5, 2, 4, 1)
    for k in range(2):
        np.testing.assert_allclose(values[:, k], policy.predict_chunk(observation, (k + 1) * noise).values, atol=1e-6)


def test_the_noise_has_the_shape_of_the_base_and_differs_along_the_chunk():
    algorithm = make()
    policy = algorithm.acting(None).policy
    given = []

    class Spy(Forked):
        def predict_chunk(self, observation, noise=None, n_samples=1):
            given.append(noise)
            return super().predict_chunk(observation, noise, n_samples)

    policy.base = Spy()
    policy.predict_chunk(*told())
    assert given[0].shape == (5, 4, 1)
    assert (np.abs(np.diff(given[0], axis=1)) > 1e-3).all()


def test_a_greedy_policy_does_not_depend_on_the_noise():
    algorithm = make(greedy="true")
    shake(algorithm.averaged)
    policy = algorithm.acting(None).policy
    observation, noise = told()
    one, other = (policy.predict_chunk(observation, x).values for x in (noise, -noise))
    np.testing.assert_array_equal(one, other)


def test_a_base_without_noise_cannot_be_steered():
    with pytest.raises(UserError, match="draws no noise"):
        NoiseSteering(chunk_config("noise_steering"), policy=Silent(), units=make_units(Silent.schema), seed=0)


def test_the_critic_loss_is_the_mean_squared_error_of_the_heads():
    algorithm = make(step_cost="false", initial_temperature=0.5)
    constant(algorithm.critic, 0.1, 0.3)
    constant(algorithm.target_critic, 0.6, 0.4)
    batch = batch_of([0.0, 0.9], [0.5, 0.0])
    # y = 0 + 0.5 (0.4 - 0.5 * 0.2) = 0.15, and 0.9
    loss = algorithm.critic_loss(batch, torch.zeros(2, 3), torch.tensor([0.2, 0.2]))
    expected = (0.05**2 + 0.8**2 + 0.15**2 + 0.6**2) / 4
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_values_of_noise_follow_those_of_chunks_head_by_head():
    algorithm = make()
    constant(algorithm.critic, -0.1, -0.3)
    constant(algorithm.noise_critic, -0.2, -0.6)
    loss = algorithm.distillation_loss(torch.zeros(5, 2), torch.randn(5, 2, 4), torch.randn(5, 2, 3))
    assert loss.item() == pytest.approx((0.1**2 + 0.3**2) / 2, rel=1e-5)


def test_the_actor_weighs_entropy_against_the_lesser_value():
    algorithm = make(initial_temperature=0.5)
    constant(algorithm.noise_critic, -0.2, -0.6)
    loss, log_prob = algorithm.actor_loss(torch.zeros(400, 2))
    assert loss.item() == pytest.approx(0.5 * log_prob.item() + 0.6, rel=1e-4)
    # z = e / b: entropy of a Gaussian of deviation 1 / 1.5, less what the squashing takes
    assert -0.72 < log_prob.item() < -0.4


@pytest.mark.parametrize(("entropy", "sign"), [(0.5, -1), (-2.0, 1)])
def test_the_temperature_falls_where_there_is_more_entropy_than_wanted(entropy, sign):
    algorithm = make(target_entropy=-1.0)
    before = math.log(float(algorithm.alpha))
    optimizer = algorithm.optimizers["temperature"]
    algorithm.temperature_loss(torch.tensor(-entropy)).backward()
    optimizer.step()
    assert sign * (math.log(float(algorithm.alpha)) - before) > 0


def test_only_the_critics_learn_during_their_warm_up(tmp_path):
    before = {key: value.clone() for key, value in make().actor.state_dict().items()}
    steps = {"total_steps": 320, "warmup_steps": 160, "critic_warmup_updates": 5, "utd": 0.0}
    algorithm, _ = learn("noise_steering", NoiseSteering, tmp_path, **steps)
    assert algorithm.clock.updates == 5
    after = algorithm.actor.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_average_follows_the_actor_and_is_what_acts_without_exploring_and_what_is_saved(tmp_path):
    steps = {"total_steps": 320, "warmup_steps": 160, "critic_warmup_updates": 5, "utd": 0.1, "eval_every": 10**6}
    algorithm, _ = learn("noise_steering", NoiseSteering, tmp_path / "run", **steps, average_tau=0.25)
    experience = Experience(capacity=1000, demo_ratio=1.0, gamma=0.9, seed=(0,), complete=algorithm.complete)
    base = algorithm.policy
    experience.show(relabelled(demonstrations(5), base, algorithm.units, seed=0, reads=True))
    start = old = weights(algorithm.averaged)
    for _ in range(3):
        algorithm.update(experience)
        expected = old + 0.25 * (weights(algorithm.actor) - old)
        old = weights(algorithm.averaged)
        torch.testing.assert_close(old, expected)
    assert (old != start).any()
    assert algorithm.acting(None).policy.actor is algorithm.averaged
    assert algorithm.acting(np.random.default_rng(0)).policy.actor is algorithm.actor
    algorithm.save(tmp_path)
    saved = load_refinement(tmp_path, base, algorithm.units).policy.actor
    torch.testing.assert_close(weights(saved), old, rtol=0, atol=0)


def test_steering_the_noise_solves_what_the_base_does_half_of_the_time(tmp_path):
    sizes = {
        "hidden": 32,
        "batch_size": 64,
        "actor_lr": 1e-3,
        "critic_lr": 1e-3,
        "demo_ratio": 0.25,
        "average_tau": 0.05,
    }
    steps = {"total_steps": 1200, "warmup_steps": 480, "critic_warmup_updates": 150, "eval_every": 1200, "utd": 0.5}
    _, curve = learn("noise_steering", NoiseSteering, tmp_path, **sizes, **steps)
    assert curve[0]["success"] < 0.75
    assert curve[-1]["success"] > 0.93
    assert curve[-1]["entropy"] < 0.5
