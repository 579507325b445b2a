"""Chunked TD: choosing between chunks, the target on known numbers, and learning."""

import numpy as np
import pytest
import torch
from chunk_toy import Forked, Silent, base_success, batch_of, chunk_config, constant, learn, success_of
from rl_toy import make_units

from robolearn.errors import UserError
from robolearn.rl.best_of import BestOfPolicy, ChunkCritic
from robolearn.rl.chunked_td import ChunkedTD
from robolearn.schema import ActionChunk

UNITS = make_units(Forked.schema)


class Liking(ChunkCritic):
    """A critic that likes chunks with a small first action."""

    def __init__(self):
        super().__init__(UNITS, 3, hidden=4, heads=2, layer_norm=True)

    def forward(self, frames, chunks):
        return -chunks[..., 0].abs().expand(2, *chunks.shape[:-1])


def make(**changes):
    return ChunkedTD(chunk_config("chunked_td", **changes), policy=Forked(), units=UNITS, seed=0)


def told(n=5, candidates=4):
    rng = np.random.default_rng(0)
    observation = {"observation.state": rng.uniform(-1, 1, (n, 1, 2)).astype(np.float32)}
    return observation, rng.standard_normal((n, candidates, 4, 1)).astype(np.float32)


def test_the_candidate_that_the_critic_values_most_is_planned():
    observation, noise = told()
    policy = BestOfPolicy(Forked(), Liking(), UNITS, candidates=4)
    assert policy.noise_shape == (4, 4, 1)
    every = Forked().predict_chunk(observation, noise.reshape(-1, 4, 1), 4).values
    best = np.abs(every[:, :, 0, 0]).argmin(axis=1)
    np.testing.assert_array_equal(policy.predict_chunk(observation, noise).values, every[np.arange(5), best])


def test_one_candidate_is_the_base_bit_for_bit():
    observation, noise = told(candidates=1)
    policy = BestOfPolicy(Forked(), Liking(), UNITS, candidates=1)
    base = Forked().predict_chunk(observation, noise[:, 0]).values
    np.testing.assert_array_equal(policy.predict_chunk(observation, noise).values, base)
    assert success_of(make(candidates=1).acting(None)) == base_success()


def test_the_base_acts_until_something_is_learned():
    assert success_of(make(candidates=4).acting(None)) == pytest.approx(base_success(), abs=0.15)
    observation, noise = told()
    chosen = make(candidates=4).acting(None).policy.predict_chunk(observation, noise).values
    np.testing.assert_array_equal(chosen, Forked().predict_chunk(observation, noise[:, 0]).values)


def test_samples_of_one_observation_are_those_of_each_alone():
    observation, noise = told(candidates=8)
    policy = BestOfPolicy(Forked(), Liking(), UNITS, candidates=4)
    both = policy.predict_chunk(observation, noise.reshape(10, 4, 4, 1), n_samples=2).values
    assert both.shape == (5, 2, 4, 1)
    for k in range(2):
        alone = policy.predict_chunk(observation, noise[:, 4 * k : 4 * k + 4]).values
        np.testing.assert_array_equal(both[:, k], alone)


def test_the_length_of_the_chosen_plan_comes_with_it():
    class Sure(Forked):
        def predict_chunk(self, observation, noise=None, n_samples=1):
            chunk = super().predict_chunk(observation, noise, n_samples)
            n = 100 * chunk.values[..., 0, 0]
            return ActionChunk(chunk.values, chunk.t0, chunk.dt, n.astype(int))

    observation, noise = told()
    chunk = BestOfPolicy(Sure(), Liking(), UNITS, candidates=4).predict_chunk(observation, noise)
    np.testing.assert_array_equal(chunk.n_valid, (100 * chunk.values[:, 0, 0]).astype(int))


def test_a_hot_draw_takes_any_candidate_and_a_cold_one_the_best():
    observation, _ = told(1)
    noise = np.random.default_rng(1).standard_normal((4000, 5, 4, 1)).astype(np.float32)
    noise[:, :4] = noise[0, :4]  # the same candidates, another draw each time
    many = {"observation.state": np.repeat(observation["observation.state"], 4000, axis=0)}
    every = Forked().predict_chunk(many, noise[:, :4].reshape(-1, 4, 1), 4).values[0, :, 0, 0]

    def shares(temperature):
        policy = BestOfPolicy(Forked(), Liking(), UNITS, candidates=4, temperature=temperature)
        first = policy.predict_chunk(many, noise).values[:, 0, 0]
        return np.array([(first == value).mean() for value in every])

    assert len(set(every)) == 4
    scores = -np.abs(every / 0.2)  # the action's bound is 0.2
    for temperature in (0.5, 100.0):
        expected = np.exp(scores / temperature) / np.exp(scores / temperature).sum()
        np.testing.assert_allclose(shares(temperature), expected, atol=0.03)
    assert shares(1e-4)[np.argmax(scores)] == 1.0


def test_a_base_without_noise_is_refused():
    with pytest.raises(UserError, match="draws no noise"):
        BestOfPolicy(Silent(), Liking(), UNITS, candidates=4)


def test_the_target_is_the_return_and_the_best_of_the_plans_that_follow():
    algorithm = make()
    constant(algorithm.actor.net, 0.1, 0.3)
    plans = torch.tensor([[[0.0] * 3, [0.5] * 3], [[0.2] * 3, [0.4] * 3]])
    batch = batch_of([0.0, 0.9], [0.5, 0.0], plans=plans)
    asked = []

    class Sum(torch.nn.Module):
        """Values a chunk by its first action; the second head by more."""

        heads = 2

        def forward(self, seen, chunks, heads=None):
            asked.append(len(chunks))
            value = chunks[:, :1] + torch.tensor([0.0, 0.2])[:, None, None]
            return value if heads is None else value[heads]

    algorithm.target.net = Sum()
    # y = 0.5 max_j min(a_j, a_j + 0.2) = 0.25, and 0.9
    loss = algorithm.critic_loss(batch)
    assert asked == [4]
    assert loss.item() == pytest.approx((0.15**2 + 0.8**2 + 0.05**2 + 0.6**2) / 4, rel=1e-5)


def test_choosing_solves_what_the_base_does_half_of_the_time(tmp_path):
    sizes = {"hidden": 32, "batch_size": 64, "critic_lr": 1e-3, "demo_ratio": 0.25, "candidates": 8}
    steps = {"total_steps": 960, "warmup_steps": 480, "critic_warmup_updates": 100, "eval_every": 960, "utd": 0.25}
    _, curve = learn("chunked_td", ChunkedTD, tmp_path, **sizes, **steps)
    assert curve[0]["success"] < 0.75
    assert curve[-1]["success"] > 0.93
