"""The residual with the settings of others: what they publish is what runs."""

import numpy as np
import pytest
import torch
from step_toy import UNITS, Channels, make_batch, make_config

from robolearn.rl.residual import Residual


class Same:
    """Experience that is always one batch."""

    def batch(self, size, *, steps):
        return make_batch(reward=torch.ones(32))


def updated(algo, count):
    config = make_config(algo, hidden=16, critic_warmup_updates=0)
    learner = Residual(config, policy=Channels(), units=UNITS, seed=0)
    figures = []
    for learner.clock.updates in range(1, count + 1):
        figures.append(learner.update(Same()))
    return learner, figures


def test_resfit_updates_its_actor_once_per_control_step_without_guards():
    config = make_config("resfit")
    assert config.actor_every == config.utd == 4
    assert (config.num_critics, config.warmup_steps, config.critic_warmup_updates) == (10, 10_000, 10_000)
    learner, figures = updated("resfit", 8)
    assert ["actor_loss" in figure for figure in figures] == 2 * [False, False, False, True]
    assert learner.actor.scale.tolist() == pytest.approx([0.2, 0.2])
    assert all(float(figure["penalty"]) == 0 for figure in figures[3::4])


def test_policy_decorator_lets_the_residual_in_step_by_step():
    learner, _ = updated("policy_decorator", 2)
    shares = []
    for steps in (0, 4000, 19_000, 34_000, 60_000):
        learner.clock.steps = steps
        shares.append(learner._share())
    np.testing.assert_allclose(shares, [0, 0, 0.5, 1, 1])
    assert learner.config.demo_ratio == 0
    assert not learner.critic.layer_norm
