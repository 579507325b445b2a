"""Losses and updates of the residual, on numbers that can be worked out by hand."""

import numpy as np
import picture_toy
import pytest
import torch
from rl_toy import make_config
from step_toy import UNITS, constant, make_batch

from robolearn.errors import UserError
from robolearn.rl.correction import load_residual
from robolearn.rl.interaction import BASE
from robolearn.rl.residual import Residual, scale_of
from robolearn.rl.units import VECTOR


def make_learner(seed=0, **changes) -> Residual:
    return Residual(make_config(**changes), policy=None, units=UNITS, seed=seed)


class Same:
    """Experience that is always one batch."""

    def __init__(self, batch):
        self.one, self.asked = batch, []

    def batch(self, size, *, steps):
        self.asked.append((size, steps))
        return self.one


def parameters(module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()]).clone()


def shake(module, scale=0.3) -> None:
    """Random weights in the last layer, which begins at zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        module.weights[-1].normal_(std=scale)


def value(learner, batch, action):
    return learner.critic(torch.cat((batch.frames[VECTOR], action), -1))


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
    for output, worth in ((7.0, 1.0), (-7.0, 0.0)):
        constant(learner.critic_target, [output] * 2)
        constant(learner.critic, [0.9 * worth] * 2)
        assert learner.critic_loss(make_batch()).item() == pytest.approx(0, abs=1e-10)


def test_nothing_after_the_end_of_a_task_counts():
    learner, done = make_learner(), make_batch(discount=torch.zeros(32))
    other = done._replace(after={VECTOR: done.after[VECTOR] + 9, BASE: -done.after[BASE]})
    assert learner.critic_loss(done).item() == learner.critic_loss(other).item()


def test_the_next_action_is_the_base_s_next_action_plus_the_target_actor_s_residual():
    learner = make_learner(target_noise=0.0)
    shake(learner.actor_target.net)
    batch, seen = make_batch(), []
    learner.critic_target.register_forward_pre_hook(lambda module, inputs: seen.append(torch.cat(inputs, dim=-1)))
    learner.critic_loss(batch)
    residual = learner.actor_target(batch.after[VECTOR], batch.after[BASE])
    expected = (batch.after[BASE] + 0.5 * residual).clamp(-1, 1)
    torch.testing.assert_close(seen[0], torch.cat((batch.after[VECTOR], expected), dim=-1))


def test_the_critics_value_the_action_that_was_executed():
    learner, batch, seen = make_learner(), make_batch(), []
    learner.critic.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    learner.critic_loss(batch)
    assert torch.equal(seen[0], torch.cat((batch.frames[VECTOR], batch.action[:, 0]), dim=-1))


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


def descend(learner, batch, *, steps, penalty):
    for _ in range(steps):
        loss, residual = learner.actor_loss(batch, penalty=penalty)
        learner.optimizers["actor"].zero_grad()
        loss.backward()
        learner.optimizers["actor"].step()
    return residual


@pytest.mark.parametrize("normalised", [True, False])
def test_the_scale_of_q_changes_nothing_for_the_actor_where_it_is_normalised(normalised):
    learner, batch = make_learner(normalise_q=normalised, actor_noise=0.0), make_batch()
    shake(learner.actor.net)
    before = actor_gradient(learner, batch)
    with torch.no_grad():
        learner.critic.weights[-1] *= 10
        learner.critic.biases[-1] *= 10
    assert before.norm() > 1e-4
    torch.testing.assert_close(actor_gradient(learner, batch), before * (1 if normalised else 10), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("deviation", [0.0, 0.2])
def test_the_actor_s_loss_values_the_combined_action_with_noise(deviation):
    learner, batch, seen = make_learner(actor_noise=deviation), make_batch(), []
    shake(learner.actor.net)
    learner.critic.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    for _ in range(50):
        _, residual = learner.actor_loss(batch, penalty=0.0)
    combined = learner.actor.combine(batch.frames[BASE], residual)
    actions = torch.stack(seen)
    assert actions.abs().max() <= 1.0
    noise = (actions - combined)[:, (combined.abs() < 0.3).all(-1)]
    assert noise.std().item() == pytest.approx(deviation, rel=0.1, abs=1e-6)
    assert noise.mean().abs() < 0.05


def test_without_a_value_to_gain_the_penalty_brings_the_residual_back():
    learner, batch = make_learner(actor_lr=1e-2), make_batch()
    shake(learner.actor.net)
    constant(learner.critic, [0.5] * 2)
    before = learner.actor_loss(batch, penalty=1.0)[1].abs().mean()
    residual = descend(learner, batch, steps=50, penalty=1.0)
    assert residual.abs().mean() < 0.3 * before
    gradients = [actor_gradient(learner, batch, penalty) for penalty in (1.0, 2.0)]
    torch.testing.assert_close(2 * gradients[0], gradients[1])


def test_the_actor_climbs_the_critic():
    learner, batch = make_learner(actor_lr=1e-2), make_batch()
    batch.frames[BASE].zero_()
    before = value(learner, batch, batch.frames[BASE]).mean()
    residual = descend(learner, batch, steps=100, penalty=0.0)
    after = value(learner, batch, learner.actor.combine(batch.frames[BASE], residual)).mean()
    assert after > before + 0.01


# ---------------------------------------------------------------- updates


def update(learner, batch, number):
    learner.clock.updates = number
    return learner.update(Same(batch))


def test_the_critics_learn_alone_first():
    learner = make_learner(critic_warmup_updates=20)
    networks = (learner.actor, learner.actor_target, learner.critic, learner.critic_target)
    for number in range(1, 25):
        before = [parameters(network) for network in networks]
        metrics = update(learner, make_batch(reward=torch.ones(32)), number)
        changed = [(parameters(network) != old).any().item() for network, old in zip(networks, before, strict=True)]
        assert changed == [number > 20, number > 20, True, True]
        assert ("actor_loss" in metrics) == (number > 20)


def test_the_actor_learns_every_so_many_updates():
    learner = make_learner(critic_warmup_updates=4, actor_every=3)
    told = ["actor_loss" in update(learner, make_batch(), number) for number in range(1, 13)]
    assert [number for number, actor in enumerate(told, start=1) if actor] == [6, 9, 12]


def test_an_update_draws_n_step_windows():
    experience = Same(make_batch())
    make_learner(n_step=4, batch_size=32).update(experience)
    assert experience.asked == [(32, 4)]


def test_an_actor_update_does_not_move_the_critic_and_targets_follow_slowly():
    learner = make_learner(tau=0.1, critic_warmup_updates=1)
    batch, start = make_batch(reward=torch.ones(32)), parameters(make_learner().critic_target)
    update(learner, batch, 1)
    critic, old = parameters(learner.critic), parameters(learner.critic_target)
    torch.testing.assert_close(old, start + 0.1 * (critic - start))

    learner.optimizers["critic"].param_groups[0]["lr"] = 0.0
    actor_old = parameters(learner.actor_target)
    update(learner, batch, 2)
    torch.testing.assert_close(parameters(learner.critic), critic, rtol=0, atol=0)
    torch.testing.assert_close(parameters(learner.critic_target), old + 0.1 * (critic - old))
    actor = parameters(learner.actor)
    assert (actor != actor_old).any()
    torch.testing.assert_close(parameters(learner.actor_target), actor_old + 0.1 * (actor - actor_old))
    assert all(p.requires_grad for p in learner.critic.parameters())


def test_the_average_follows_the_actor_and_is_what_acts_without_exploring_and_what_is_saved(tmp_path):
    learner = make_learner(average_tau=0.25, critic_warmup_updates=0)
    start = old = parameters(learner.averaged)
    for number in range(1, 4):
        update(learner, make_batch(reward=torch.ones(32)), number)
        expected = old + 0.25 * (parameters(learner.actor) - old)
        old = parameters(learner.averaged)
        torch.testing.assert_close(old, expected)
    assert (old != start).any()
    assert learner.acting(None).correction.actor is learner.averaged
    assert learner.acting(np.random.default_rng(0)).correction.correction.actor is learner.actor
    learner.save(tmp_path)
    saved = load_residual(tmp_path, learner.units).actor
    torch.testing.assert_close(parameters(saved), old, rtol=0, atol=0)


def test_the_average_sees_as_the_critics_have_learned_to_while_they_learn_alone():
    learner = Residual(
        make_config(average_tau=0.25, critic_warmup_updates=2), policy=None, units=picture_toy.make_units(), seed=0
    )
    pictures = torch.randint(0, 256, (32, picture_toy.SIDE, picture_toy.SIDE, 3), dtype=torch.uint8)
    frames = {VECTOR: torch.zeros(32, 1), BASE: torch.zeros(32, 1), picture_toy.CAMERA: pictures}
    batch = make_batch(frames=frames, after=frames, action=torch.zeros(32, 1, 1), reward=torch.ones(32))
    start, hands = parameters(learner.averaged.observer), parameters(learner.averaged.net)
    update(learner, batch, 1)
    expected = start + 0.25 * (parameters(learner.actor.observer) - start)
    torch.testing.assert_close(parameters(learner.averaged.observer), expected)
    assert (expected != start).any()
    torch.testing.assert_close(parameters(learner.averaged.net), hands, rtol=0, atol=0)


def test_an_average_that_follows_at_once_is_the_actor():
    learner = make_learner(average_tau=1.0, critic_warmup_updates=0)
    start = parameters(learner.averaged)
    for number in range(1, 4):
        update(learner, make_batch(reward=torch.ones(32)), number)
    assert (parameters(learner.averaged) != start).any()
    torch.testing.assert_close(parameters(learner.averaged), parameters(learner.actor), rtol=0, atol=0)


@pytest.mark.parametrize(("start", "end"), [(4.0, 0.1), (4.0, 0.0)])
def test_the_penalty_falls_from_start_to_end(start, end):
    settings = {"residual_penalty_start": start, "residual_penalty_end": end, "residual_penalty_steps": 1000}
    learner, weights = make_learner(warmup_steps=100, **settings), []
    for learner.clock.steps in range(0, 1500, 50):
        weights.append(learner.penalty())
    assert weights[:3] == [start] * 3
    assert weights[22:] == pytest.approx([end] * 8)
    assert (np.diff(weights[2:23]) < 0).all()


def test_a_learner_is_made_from_its_seed():
    learners = [make_learner(seed, critic_warmup_updates=0) for seed in (0, 0, 1)]
    for number in range(1, 4):
        losses = [update(learner, make_batch(), number)["critic_loss"] for learner in learners]
    assert losses[0] == losses[1] != losses[2]
    torch.testing.assert_close(parameters(learners[0].critic), parameters(learners[1].critic), rtol=0, atol=0)
