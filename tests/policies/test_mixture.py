"""Mixture of horizons: what a horizon sees, how they are fused, and how far they agree."""

import numpy as np
import pytest
import torch
from toys import STATISTICS, make_batch, make_noise, make_policy, make_schema, make_untrained, observe

from robolearn.policies.backbones.dit import DiT
from robolearn.policies.backbones.mixture import Mixed
from robolearn.policies.serving import TorchPolicy
from robolearn.sampling import agreed_steps

HORIZONS = (2, 4, 8)


def mix(policy, noise, time=0.3):
    return policy.network.mix(noise, torch.full((len(noise),), time), policy.observe(make_batch(len(noise))))


@torch.no_grad()
def test_each_horizon_is_the_shared_transformer_on_its_own_actions():
    policy, noise = make_policy("flow-mixture"), make_noise()
    network = policy.network
    mixed = mix(policy, noise)
    for n, horizon in enumerate(HORIZONS):
        sizes = {"observed_dim": 10, "action_dim": 2, "hidden_dim": 16, "num_blocks": 2, "num_heads": 2}
        alone = DiT(**sizes, horizon=horizon, with_step=False)
        state = {name: value for name, value in network.state_dict().items() if not name.startswith("gate")}
        alone.load_state_dict(state | {"place": state["place"][:horizon]})
        expected = alone(noise[:, :horizon], torch.full((5,), 0.3), policy.observe(make_batch()))
        torch.testing.assert_close(mixed.each[n, :, :horizon], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(mixed.each[n, :, horizon:], mixed.fused[:, horizon:])


@torch.no_grad()
def test_the_gate_weighs_the_horizons_that_reach_an_action():
    mixed = mix(make_policy("flow-mixture"), make_noise())
    torch.testing.assert_close(mixed.weights.sum(2), torch.ones(5, 8))
    assert torch.equal(mixed.weights[0] > 0, torch.arange(8)[:, None] < torch.tensor(HORIZONS))
    assert mixed.weights[:, 0].std(1).min() > 1e-4  # so that the weights matter
    fused = torch.einsum("bhn,nbha->bha", mixed.weights, mixed.each)
    torch.testing.assert_close(mixed.fused, fused, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_a_fresh_gate_is_even():
    weights = mix(make_untrained("flow-mixture"), make_noise()).weights
    torch.testing.assert_close(weights[0, :, 2], torch.tensor([1 / 3, 1 / 3, 1 / 2, 1 / 2, 1, 1, 1, 1]))
    assert make_untrained("flow-mixture").network.imbalance(weights) == pytest.approx(0)


def test_the_balance_loss_is_the_mean_squared_variation_over_intervals():
    network = make_untrained("flow-mixture").network
    weights = torch.zeros(2, 8, 3)
    weights[:, :2] = torch.tensor([0.6, 0.3, 0.1])
    weights[:, 2:4] = torch.tensor([0.0, 0.8, 0.2])
    weights[:, 4:, 2] = 1
    expected = [np.var(w) / np.mean(w) ** 2 for w in ([0.6, 0.3, 0.1], [0.8, 0.2])]
    assert network.imbalance(weights).item() == pytest.approx(np.mean(expected), rel=1e-4)
    # one sample may prefer one horizon if another prefers the other
    weights[0, 2:4, 1:], weights[1, 2:4, 1:] = torch.tensor([0.9, 0.1]), torch.tensor([0.1, 0.9])
    weights[:, :2] = 1 / 3
    assert network.imbalance(weights).item() == pytest.approx(0, abs=1e-6)


def test_errors_are_means_over_the_actions_that_a_horizon_reaches():
    network, target = make_untrained("flow-mixture").network, make_noise()
    fused, each = make_noise(seed=4), torch.stack([make_noise(seed=seed) for seed in (5, 6, 7)])
    ours, theirs = network.errors(Mixed(fused, each, torch.empty(0)), target)
    torch.testing.assert_close(ours.mean(), (fused - target).square().mean())
    expected = sum((each[n, :, :h] - target[:, :h]).square().mean() for n, h in enumerate(HORIZONS))
    torch.testing.assert_close(theirs.mean(), expected)


@pytest.mark.parametrize(("individual", "balance"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.5)])
def test_the_loss_adds_up_its_parts(individual, balance):
    policy = make_policy("flow-mixture", individual_weight=individual, balance_weight=balance)
    batch, noise, time = make_batch(), make_noise(), torch.full((5,), 0.3)
    del batch["action_is_pad"]
    loss, _ = policy(batch, noise=noise, time=time)
    mixed = mix(policy, torch.lerp(noise, batch["action"], 0.3))
    fused, each = policy.network.errors(mixed, batch["action"] - noise)
    expected = fused.mean() + individual * each.mean() + balance * policy.network.imbalance(mixed.weights)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("kind", ["flow-mixture", "diffusion-mixture"])
def test_the_fused_chunk_leads_and_horizons_meet_it_where_they_end(kind):
    policy, noise = make_policy(kind), make_noise(10)
    chunks = policy.predict_horizons(make_batch(), noise, num_samples=2)
    assert chunks.shape == (4, 5, 2, 8, 2)
    torch.testing.assert_close(chunks[0], policy.predict_action_chunk(make_batch(), noise, num_samples=2))
    for n, horizon in enumerate(HORIZONS):
        assert (chunks[1 + n] - chunks[0])[..., :horizon, :].abs().mean() > 1e-4
        torch.testing.assert_close(chunks[1 + n][..., horizon:, :], chunks[0][..., horizon:, :])


def test_a_served_mixture_says_how_far_its_horizons_agree():
    policy = make_policy("flow-mixture")
    served = TorchPolicy(policy, make_schema(), STATISTICS)
    noise = make_noise(40).numpy()
    chunk = served.predict_chunk(observe(40), noise)
    assert chunk.n_valid.shape == (40,)
    assert set(chunk.n_valid) <= {2, 3, 4}  # from consensus_steps to where a single horizon is left
    assert len(set(chunk.n_valid)) > 1
    batch = {key: torch.from_numpy(x) for key, x in served.normalizer.observation(observe(40)).items()}
    chunks = policy.predict_horizons(batch, torch.from_numpy(noise)).numpy()
    np.testing.assert_array_equal(chunk.n_valid, agreed_steps(chunks, HORIZONS, ratio=1.1, steps=2, voters=2))
    assert served.predict_chunk(observe(3), n_samples=2).n_valid.shape == (3, 2)
    fixed = TorchPolicy(make_policy("flow-mixture", dynamic_horizon=False), make_schema(), STATISTICS)
    assert fixed.predict_chunk(observe(40), noise).n_valid is None
