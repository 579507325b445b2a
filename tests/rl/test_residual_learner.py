"""Losses and updates of the residual learner, on numbers that can be worked out by hand."""

import numpy as np
import pytest
import torch
from rl_toy import make_config, make_normalizer, make_schema

from robolearn.errors import UserError
from robolearn.rl.correction import ResidualCorrection, Units, load_residual, save_residual
from robolearn.rl.networks import EnsembleMLP
from robolearn.rl.residual import ResidualActor, ResidualLearner, scale_of

OBS, ACT = 3, 2


def make_learner(**changes) -> ResidualLearner:
    return ResidualLearner(OBS, ("x", "y"), make_config(**changes), seed=0)


def make_batch(n=32, seed=0, **fields):
    rng = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(shape, generator=rng) * 2 - 1

    batch = {
        "obs": uniform(n, OBS),
        "base": uniform(n, ACT),
        "action": uniform(n, ACT),
        "next_obs": uniform(n, OBS),
        "next_base": uniform(n, ACT),
        "reward": torch.zeros(n),
        "discount": torch.full((n,), 0.9),
    }
    return batch | fields


def constant(network: EnsembleMLP, values) -> None:
    """Make each head a constant."""
    network.zero_last()
    with torch.no_grad():
        network.biases[-1][:, 0, 0] = torch.tensor(values)


def parameters(module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()]).clone()


def shake(module, scale=0.3) -> None:
    """Random weights in the last layer, which begins at zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        module.weights[-1].normal_(std=scale)


# ---------------------------------------------------------------- networks


def test_an_ensemble_is_its_members():
    torch.manual_seed(0)
    together = EnsembleMLP(3, 2, hidden=8, heads=4)
    x = torch.randn(5, 3)
    y = together(x)
    assert y.shape == (4, 5, 2)
    for head in range(4):
        alone = EnsembleMLP(3, 2, hidden=8)
        for mine, theirs in zip(alone.parameters(), together.parameters(), strict=True):
            mine.data = theirs.data[head : head + 1]
        torch.testing.assert_close(alone(x)[0], y[head])
    assert (y[0] - y[1]).abs().max() > 1e-3


def test_a_network_with_a_zero_last_layer_gives_zeros_and_can_still_learn():
    network = EnsembleMLP(3, 2, hidden=8)
    network.zero_last()
    y = network(torch.randn(5, 3))
    assert (y == 0).all()
    (y - 1).square().mean().backward()
    assert network.weights[-1].grad.abs().max() > 0


# ---------------------------------------------------------------- actor


def test_the_untrained_actor_changes_nothing():
    actor = make_learner().actor
    base = np.random.default_rng(0).uniform(-1, 1, (50, ACT)).astype(np.float32)
    np.testing.assert_array_equal(actor.act(np.zeros((50, OBS), np.float32), base), base)


def test_the_residual_is_at_most_its_scale_and_the_sum_is_clipped():
    actor = ResidualActor(OBS, ACT, hidden=16, scale=[0.1, 2.0])
    shake(actor.net, 100.0)
    base = np.random.default_rng(0).uniform(-1, 1, (500, ACT)).astype(np.float32)
    action = actor.act(np.random.default_rng(1).normal(size=(500, OBS)).astype(np.float32), base)
    change = np.abs(action - base)
    assert (np.abs(action) <= 1).all()
    assert 0.09 < change[:, 0].max() <= 0.1 + 1e-6
    assert change[:, 1].max() > 1.0


def test_scales_are_given_by_component():
    assert scale_of({"default": 0.5, "y": 2.0}, ("x", "y")) == [0.5, 2.0]
    assert scale_of({"x": 0.0, "y": 0.1}, ("x", "y")) == [0.0, 0.1]
    with pytest.raises(UserError, match=r"residual_scale\.witdh is no component of the action; did you mean 'width'"):
        scale_of({"default": 0.5, "witdh": 1.0}, ("x", "width"))
    with pytest.raises(UserError, match="has no value for 'y'"):
        scale_of({"x": 0.5}, ("x", "y"))


# ---------------------------------------------------------------- critic loss


def test_the_td_loss_is_the_mean_of_the_heads_squared_errors():
    learner = make_learner()
    constant(learner.critic, [1.0 + 0.4, 1.0 - 0.4])  # errors that cancel in the mean
    loss = learner.critic_loss(make_batch(reward=torch.ones(32), discount=torch.zeros(32)))
    assert loss.item() == pytest.approx(0.16)


def test_the_target_is_the_discounted_minimum_of_two_heads():
    learner = make_learner(num_critics=2)
    constant(learner.critic_target, [0.3, 0.8])
    constant(learner.critic, [0.25 + 0.9 * 0.3] * 2)
    assert learner.critic_loss(make_batch(reward=torch.full((32,), 0.25))).item() == pytest.approx(0, abs=1e-10)


def test_two_of_many_heads_are_drawn_at_random():
    learner = make_learner(num_critics=4)
    constant(learner.critic_target, [0.2, 0.4, 0.6, 0.8])
    constant(learner.critic, [0.0] * 4)
    minima = {round(learner.critic_loss(make_batch()).item() ** 0.5 / 0.9, 3) for _ in range(60)}
    assert minima == {0.2, 0.4, 0.6}  # 0.8 is never the smaller of two


def test_values_stay_where_returns_can_be():
    learner = make_learner()
    for output, value in ((7.0, 1.0), (-7.0, 0.0)):
        constant(learner.critic_target, [output] * 2)
        constant(learner.critic, [0.9 * value] * 2)
        assert learner.critic_loss(make_batch()).item() == pytest.approx(0, abs=1e-10)


def test_nothing_after_the_end_of_a_task_counts():
    learner = make_learner()
    done = make_batch(discount=torch.zeros(32))
    other = done | {"next_obs": done["next_obs"] + 9, "next_base": -done["next_base"]}
    assert learner.critic_loss(done).item() == learner.critic_loss(other).item()


def test_the_next_action_is_the_base_s_next_action_plus_the_target_actor_s_residual():
    learner = make_learner(target_noise=0.0)
    shake(learner.actor_target.net)
    batch, seen = make_batch(), []
    learner.critic_target.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    learner.critic_loss(batch)
    residual = learner.actor_target(batch["next_obs"], batch["next_base"])
    expected = (batch["next_base"] + 0.5 * residual).clamp(-1, 1)
    torch.testing.assert_close(seen[0], torch.cat((batch["next_obs"], expected), dim=-1))


def test_no_gradient_reaches_targets_or_actor():
    learner = make_learner()
    shake(learner.actor.net)
    learner.critic_loss(make_batch(reward=torch.ones(32))).backward()
    untouched = (learner.actor, learner.actor_target, learner.critic_target)
    assert all(p.grad is None for module in untouched for p in module.parameters())
    assert any(p.grad.abs().max() > 0 for p in learner.critic.parameters())


# ---------------------------------------------------------------- actor loss


def actor_gradient(learner, batch, penalty=0.0):
    learner.actor.zero_grad()
    loss, _ = learner.actor_loss(batch, penalty=penalty)
    loss.backward()
    return torch.cat([p.grad.flatten() for p in learner.actor.parameters()])


def test_the_scale_of_q_changes_nothing_for_the_actor():
    learner, batch = make_learner(), make_batch()
    shake(learner.actor.net)
    before = actor_gradient(learner, batch)
    with torch.no_grad():
        learner.critic.weights[-1] *= 10
        learner.critic.biases[-1] *= 10
    assert before.norm() > 1e-4
    torch.testing.assert_close(actor_gradient(learner, batch), before, rtol=1e-4, atol=1e-7)


def test_without_a_value_to_gain_the_penalty_brings_the_residual_back():
    learner, batch = make_learner(actor_lr=1e-2), make_batch()
    shake(learner.actor.net)
    constant(learner.critic, [0.5] * 2)
    before = learner.actor_loss(batch, penalty=1.0)[1].abs().mean()
    for _ in range(50):
        loss, residual = learner.actor_loss(batch, penalty=1.0)
        learner.actor_optimizer.zero_grad()
        loss.backward()
        learner.actor_optimizer.step()
    assert residual.abs().mean() < 0.3 * before
    gradients = [actor_gradient(learner, batch, penalty) for penalty in (1.0, 2.0)]
    torch.testing.assert_close(2 * gradients[0], gradients[1])


def test_the_actor_climbs_the_critic():
    learner = make_learner(actor_lr=1e-2)
    batch = make_batch(base=torch.zeros(32, ACT))
    before = learner.critic(torch.cat((batch["obs"], batch["base"]), -1)).mean()
    for _ in range(100):
        loss, residual = learner.actor_loss(batch, penalty=0.0)
        learner.actor_optimizer.zero_grad()
        loss.backward()
        learner.actor_optimizer.step()
    after = learner.critic(torch.cat((batch["obs"], learner.actor.combine(batch["base"], residual)), -1)).mean()
    assert after > before + 0.01


# ---------------------------------------------------------------- updates


def test_an_update_without_the_actor_leaves_it_alone():
    learner = make_learner()
    networks = (learner.actor, learner.actor_target, learner.critic, learner.critic_target)
    before = [parameters(network) for network in networks]
    metrics = learner.update(make_batch(reward=torch.ones(32)), actor=False, penalty=0.0)
    changed = [(parameters(network) != old).any().item() for network, old in zip(networks, before, strict=True)]
    assert changed == [False, False, True, True]
    assert set(metrics) == {"critic_loss"}


def test_an_actor_update_does_not_move_the_critic_and_targets_follow_slowly():
    learner = make_learner(tau=0.1)
    batch = make_batch(reward=torch.ones(32))
    learner.update(batch, actor=False, penalty=0.0)
    critic, old = parameters(learner.critic), parameters(learner.critic_target)
    expected = old + 0.1 * (critic - old)
    start = make_learner(tau=0.1)
    torch.testing.assert_close(old, parameters(start.critic_target) + 0.1 * (critic - parameters(start.critic_target)))

    learner.critic_optimizer = torch.optim.SGD(learner.critic.parameters(), lr=0.0)
    actor_old = parameters(learner.actor_target)
    learner.update(batch, actor=True, penalty=0.0)
    torch.testing.assert_close(parameters(learner.critic), critic, rtol=0, atol=0)
    torch.testing.assert_close(parameters(learner.critic_target), expected)
    actor = parameters(learner.actor)
    assert (actor != actor_old).any()
    torch.testing.assert_close(parameters(learner.actor_target), actor_old + 0.1 * (actor - actor_old))
    assert all(p.requires_grad for p in learner.critic.parameters())


def test_a_learner_is_made_from_its_seed():
    a, b, c = (ResidualLearner(OBS, ("x", "y"), make_config(), seed=seed) for seed in (0, 0, 1))
    for _ in range(3):
        losses = [learner.update(make_batch(), actor=True, penalty=0.1)["critic_loss"] for learner in (a, b, c)]
    assert losses[0] == losses[1] != losses[2]
    torch.testing.assert_close(parameters(a.critic), parameters(b.critic), rtol=0, atol=0)


# ---------------------------------------------------------------- beside its policy

SCHEMA = make_schema(("a", "b", "c"), bound=2.0)


def make_units():
    return Units(make_normalizer(SCHEMA, std=0.5), SCHEMA.observation_keys)


def make_actor(hidden=16):
    torch.manual_seed(0)
    actor = ResidualActor(3, 1, hidden=hidden, scale=[0.5])
    shake(actor.net)
    return actor


def test_a_correction_works_in_physical_units():
    actor, units = make_actor(), make_units()
    frame = {"observation.state": np.array([[0.1, 0.2, 0.3]], np.float32)}
    base = np.array([[1.0]], np.float32)
    expected = 2.0 * actor.act(frame["observation.state"] / 0.5, base / 2.0)
    np.testing.assert_allclose(ResidualCorrection(actor, units)(frame, base), expected, rtol=1e-6)
    far = ResidualCorrection(actor, units)(frame, np.array([[2.0]], np.float32))
    assert abs(far).max() <= 2.0


def test_a_zero_residual_gives_the_base_s_own_bits():
    actor = ResidualActor(3, 1, hidden=16, scale=[0.5])
    base = np.random.default_rng(0).uniform(-2, 2, (1000, 1)).astype(np.float32)
    frame = {"observation.state": np.ones((1000, 3), np.float32)}
    np.testing.assert_array_equal(ResidualCorrection(actor, make_units())(frame, base), base)


def test_a_saved_residual_is_read_back(tmp_path):
    actor, units = make_actor(), make_units()
    assert load_residual(tmp_path, units) is None
    save_residual(tmp_path, actor)
    frame, base = {"observation.state": np.ones((2, 3), np.float32)}, np.zeros((2, 1), np.float32)
    again = load_residual(tmp_path, units)
    np.testing.assert_array_equal(again(frame, base), ResidualCorrection(actor, units)(frame, base))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    save_residual(tmp_path, make_actor())
    (tmp_path / "other").mkdir()
    save_residual(tmp_path / "other", make_actor(hidden=8))
    (tmp_path / "other" / "residual.safetensors").replace(tmp_path / "residual.safetensors")
    with pytest.raises(UserError, match=r"does not fit residual\.json"):
        load_residual(tmp_path, make_units())
    (tmp_path / "residual.safetensors").unlink()
    with pytest.raises(UserError, match=r"does not fit residual\.json"):
        load_residual(tmp_path, make_units())
