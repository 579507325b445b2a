"""IBRL: the better of two actions, in the target and when acting; learning beside a base."""

import numpy as np
import pytest
import torch
from rl_toy import Biased, make_units
from step_toy import ACT, UNITS, actions, constant, learn, make_batch, make_config, make_learner, reread, success_rate

from robolearn.acting import Acting
from robolearn.rl.ibrl import IBRL, Choice, Exploring


def make(**changes):
    return make_learner(IBRL, "ibrl", **changes)


class Judge:
    """Two heads that value the first component of an action, the second head a half of it; remembers who asked."""

    def __init__(self, parts=()):
        self.parts, self.asked = parts, []

    def __call__(self, seen, action, heads=None):
        self.asked.append(heads)
        value = action[:, :1]
        return torch.stack((value, 0.5 * value))[slice(None) if heads is None else heads]


def judged(learner):
    learner.actor._modules.pop("judge")
    learner.actor.judge = Judge()
    return learner


# ---------------------------------------------------------------- choosing


def test_the_action_of_higher_worth_is_taken_by_the_most_doubtful_head():
    learner = judged(make())
    base = torch.tensor([[0.2, 0.0], [0.4, 0.0], [-0.8, 0.0]])
    own = torch.tensor([[0.4, 0.0], [0.2, 0.0], [-0.4, 0.0]])
    chosen, worth = learner.actor.better(torch.zeros(3, 3), base, own)
    assert chosen.tolist() == [True, False, True]
    torch.testing.assert_close(worth, torch.tensor([0.2, 0.2, -0.4]))  # half of 0.4; negative ones count in full


def test_the_base_acts_until_something_is_known():
    learner = IBRL(make_config("ibrl"), policy=Biased(), units=make_units(Biased.schema), seed=0)
    np.testing.assert_array_equal(actions(learner.acting(None)), actions(Acting(Biased())))


def choose(learner, exploring=None):
    frame = {"observation.state": np.random.default_rng(0).standard_normal((400, 3), np.float32)}
    base = np.random.default_rng(1).uniform(-1, 1, (400, ACT)).astype(np.float32)
    return Choice(learner.actor, UNITS, exploring)(frame, base), base


def test_who_chooses_greedily_takes_the_base_s_own_bits_or_the_actor_s_action():
    action, base = choose(judged(make()))
    kept = (action == base).all(axis=1)
    assert 0.1 < kept.mean() < 0.9
    assert (action[:, 0] >= base[:, 0]).all()  # by the judge's taste


def test_exploration_begins_with_the_base_and_then_adds_noise_to_the_actor_alone():
    learner = judged(make(warmup_steps=10))
    rng = np.random.default_rng(0)
    exploring = Exploring(rng, 0.3, learner._begun)
    first, base = choose(learner, exploring)
    np.testing.assert_array_equal(first, base)
    learner.clock.steps = 10
    greedy, _ = choose(learner)
    noisy, _ = choose(learner, exploring)
    kept = (noisy == base).all(axis=1)
    assert 0.1 < kept.mean() < 0.9
    both = ~kept & (greedy != base).all(axis=1)
    assert 0.2 < np.std(noisy[both, 1] - greedy[both, 1]) < 0.4
    assert np.abs(noisy).max() <= 1


# ---------------------------------------------------------------- losses


def test_the_td_loss_is_the_mean_of_the_heads_squared_errors():
    learner = make()
    constant(learner.critic, [1.0 + 0.4, 1.0 - 0.4])
    loss = learner.critic_loss(make_batch(reward=torch.ones(32), discount=torch.zeros(32)))
    assert loss.item() == pytest.approx(0.16)


def test_the_target_is_the_worth_of_the_better_action_by_two_random_heads():
    learner = judged(make(target_noise=0.0))
    batch = make_batch()
    own = torch.tanh(learner.net_target(batch.after["obs"])[0])
    best = torch.maximum(*(torch.minimum(a[:, 0], 0.5 * a[:, 0]) for a in (batch.after["base"], own))).clamp(0, 1)
    constant(learner.critic, [0.0, 0.0])
    assert learner.critic_loss(batch).item() == pytest.approx((0.9 * best).square().mean().item(), rel=1e-5)
    assert all(sorted(heads.tolist()) == [0, 1] for heads in learner.actor.judge.asked)


def test_nothing_after_the_end_of_a_task_counts():
    learner, done = make(), make_batch(discount=torch.zeros(32))
    other = done._replace(after={key: values + 9 for key, values in done.after.items()})
    assert learner.critic_loss(done).item() == learner.critic_loss(other).item()


def test_the_actor_s_loss_is_the_negative_mean_value():
    learner = make()
    constant(learner.critic, [0.2, 0.8])
    assert learner.actor_loss(make_batch()).item() == pytest.approx(-0.5)


def test_an_update_moves_actor_and_critic_and_the_targets_follow():
    learner = make(tau=0.1)

    class Same:
        def batch(self, size, *, steps):
            return make_batch(reward=torch.ones(32))

    modules = (learner.actor.net, learner.critic, learner.actor.judge, learner.net_target)
    before = [torch.cat([p.detach().flatten().clone() for p in module.parts]) for module in modules]
    for learner.clock.updates in (1, 2):
        learner.update(Same())
    moved = [
        (torch.cat([p.detach().flatten() for p in m.parts]) - b).abs().max().item()
        for m, b in zip(modules, before, strict=True)
    ]
    assert all(distance > 0 for distance in moved)
    assert moved[2] < 0.5 * moved[1]
    assert moved[3] < 0.5 * moved[0]


# ---------------------------------------------------------------- as a whole


def test_it_learns_beside_its_base_and_is_read_back(tmp_path):
    learner, policy, units = learn(IBRL, "ibrl", tmp_path / "run", total_steps=2000)
    acting = learner.acting(None)
    assert success_rate(Acting(policy)) < 0.4
    assert success_rate(acting) > 0.9
    again = reread(learner, policy, units, tmp_path)
    np.testing.assert_array_equal(actions(again), actions(acting))
