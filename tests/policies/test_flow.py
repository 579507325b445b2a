"""The flow policy: its equations, and the network of the quickstart."""

import pytest
import torch
from toys import make_batch, make_noise, make_policy, make_untrained

from robolearn.policies.backbones.mlp import ResidualMLP
from robolearn.sampling import euler, heun, shortcut


def test_the_loss_is_the_equation_over_unpadded_actions():
    policy, batch = make_policy("flow-mlp"), make_batch()
    noise, time = make_noise(), torch.rand(5)
    x_t = (1 - time)[:, None, None] * noise + time[:, None, None] * batch["action"]
    velocity = policy.network(x_t, time, policy.observe(batch))
    square = (velocity - (batch["action"] - noise)) ** 2
    expected = square[~batch["action_is_pad"]].mean()
    loss, _ = policy(batch, noise=noise, time=time)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("kind", ["flow-mlp", "flow-heun", "flow-dit", "flow-mixture"])
def test_an_untrained_velocity_is_zero(kind):
    noise = make_noise()
    torch.testing.assert_close(make_untrained(kind).predict_action_chunk(make_batch(), noise=noise), noise)


@pytest.mark.parametrize("distribution", ["beta", "logit_normal"])
def test_the_distribution_of_times(distribution):
    policy = make_untrained("flow-mlp", time_distribution=distribution, time_alpha=1.5)
    time = policy._draw_time(torch.zeros(20_000, 1))
    assert time.min() >= 0
    assert time.max() < 1
    # 1 - Beta(1.5, 1) has mean 0.4
    assert time.mean().item() == pytest.approx(0.4 if distribution == "beta" else 0.5, abs=0.01)


def test_the_mlp_draws_its_weights_and_noise_as_it_always_did():
    """Runs of the quickstart are repeated bit for bit: the same layers in the same order, then noise, then time."""
    policy, batch = make_untrained("flow-mlp"), make_batch()
    torch.manual_seed(0)
    sizes = {"horizon": 8, "action_dim": 2, "hidden_dim": 16, "num_blocks": 2, "condition_dim": 8}
    network = ResidualMLP(observed_dim=2 * (3 + 2), **sizes, with_step=False)
    assert {f"network.{name}" for name in network.state_dict()} == set(policy.state_dict())
    for name, tensor in network.state_dict().items():
        assert torch.equal(policy.state_dict()[f"network.{name}"], tensor), name
    torch.manual_seed(5)
    loss, _ = policy(batch)
    torch.manual_seed(5)
    noise = torch.randn_like(batch["action"])
    time = 0.999 * (1 - torch.rand(5) ** (1 / 1.5))
    assert torch.equal(loss, policy(batch, noise=noise, time=time)[0])


@pytest.mark.parametrize(
    ("kind", "sampler"), [("flow-mlp", euler), ("flow-heun", heun), ("flow-shortcut-mlp", shortcut)]
)
def test_a_chunk_is_the_networks_velocity_integrated(kind, sampler):
    policy, noise = make_policy(kind), make_noise()

    def velocity(x, *times):
        time, *step = (torch.full((5,), value) for value in times)
        return policy.network(x, time, policy.observe(make_batch()), *step)

    with torch.no_grad():
        expected = sampler(velocity, noise, steps=4)
    torch.testing.assert_close(policy.predict_action_chunk(make_batch(), noise), expected)


class Constant(torch.nn.Module):
    """A shortcut network that tells what it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, sample, time, observed, step):
        self.asked.append((sample, time, step))
        return torch.ones_like(sample) * (1 + time + 10 * step)[:, None, None]


def test_shortcuts_learn_that_one_step_is_two_of_half_its_size():
    policy, n = make_untrained("flow-shortcut-mlp", shortcut_share=0.5, shortcut_steps=8), 400
    policy.network = Constant()
    action, noise, time = make_noise(n, seed=1), make_noise(n), torch.rand(n)
    made = policy.example(action, torch.zeros(n, 4), noise=noise, time=time)
    flow, short = made.step == 0, made.step > 0
    assert 0.4 < short.float().mean() < 0.6
    torch.testing.assert_close(made.time[flow], time[flow])
    torch.testing.assert_close(made.target[flow], (action - noise)[flow])
    # steps of 1/4, 1/2 and 1, from multiples of themselves, within [0, 1]
    assert set(made.step[short].tolist()) == {0.25, 0.5, 1.0}
    assert set(made.time[short & (made.step == 0.25)].tolist()) == {0.0, 0.25, 0.5, 0.75}
    assert set(made.time[short & (made.step == 1.0)].tolist()) == {0.0}
    line = torch.lerp(noise, action, made.time[:, None, None])
    torch.testing.assert_close(made.sample, line)
    (x, t, d), (x2, t2, d2) = policy.network.asked
    half = made.step[short] / 2
    torch.testing.assert_close(t, made.time[short])
    torch.testing.assert_close(t2, t + half)
    # the smallest step is the flow's own velocity
    assert torch.equal(d, d2)
    assert torch.equal(d, torch.where(half > 1 / 8, half, 0.0))
    first, second = 1 + t + 10 * d, 1 + t2 + 10 * d
    torch.testing.assert_close(x2, x + (half * first)[:, None, None])
    torch.testing.assert_close(made.target[short], ((first + second) / 2)[:, None, None].expand(-1, 8, 2))


def test_which_samples_learn_shortcuts_does_not_depend_on_their_neighbours():
    policy = make_untrained("flow-shortcut-mlp", shortcut_share=1e-9)
    made = policy.example(make_noise(), torch.zeros(5, 16), noise=make_noise(), time=None)
    assert torch.equal(made.step, torch.zeros(5))
