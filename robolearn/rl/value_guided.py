"""Value-guided choice: a critic learned offline picks one of several chunks of the base when it acts.

As V-GPS (Nakamoto et al., "Steering Your Generalists", 2024) and Hume's second system, with implicit Q-learning
(Kostrikov et al. 2021) of chunks on the dataset's episodes, good and bad:

    V(s)    <- expectile of min Q'(s, a) over the chunks a of the data
    Q(s, a) <- R + gamma^k V(s')

Only chunks of the data are ever valued while it learns, so that nothing is imagined. No control steps are taken.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from robolearn.acting import Acting
from robolearn.config import ValueGuidedConfig
from robolearn.protocols import Policy
from robolearn.rl.best_of import BestOfPolicy, chunk_critic, save_best_of
from robolearn.rl.chunks import chunk_target, least_of_two, noise_shape_of
from robolearn.rl.experience import Batch, Experience
from robolearn.rl.networks import EnsembleMLP, descend, follow
from robolearn.rl.online import Clock
from robolearn.rl.units import Units


class ValueGuided:
    """Networks, losses and updates; see `robolearn.rl.online.Algorithm`."""

    def __init__(self, config: ValueGuidedConfig, *, policy: Policy, units: Units, seed: int) -> None:
        """Initialise from a seed, on top of a policy that draws noise."""
        noise_shape_of(policy)
        self.config, self.policy, self.units, self.clock = config, policy, units, Clock()
        torch.manual_seed(seed)
        self.actor = chunk_critic(config, policy, units)
        self.target = copy.deepcopy(self.actor).requires_grad_(False)
        self.value = EnsembleMLP(self.actor.observer.dim, 1, hidden=config.hidden, layer_norm=config.layer_norm)
        self.modules: dict[str, nn.Module] = {"target": self.target, "value": self.value}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "critic": torch.optim.Adam(self.actor.parameters(), lr=config.learning_rate, fused=True),
            "value": torch.optim.Adam(self.value.parameters(), lr=config.learning_rate, fused=True),
        }
        self.generator = torch.Generator().manual_seed(seed)

    def acting(self, rng: np.random.Generator | None) -> Acting:
        """See `robolearn.rl.online.Algorithm.acting`; there is no exploring."""
        candidates, temperature = self.config.candidates, self.config.temperature
        return Acting(BestOfPolicy(self.policy, self.actor, self.units, candidates=candidates, temperature=temperature))

    def value_loss(self, batch: Batch) -> Tensor:
        """Mean of |tau - 1(u < 0)| u^2 with u = min Q'(s, a) - V(s), tau the expectile."""
        with torch.no_grad():
            seen = self.target.observer(batch.frames)
            q = least_of_two(self.target.net, seen, batch.action.flatten(1), self.generator)
        difference = q - self.value(seen)[0, :, 0]
        weight = (self.config.expectile - (difference < 0).float()).abs()
        return (weight * difference.square()).mean()

    def critic_loss(self, batch: Batch) -> Tensor:
        """Mean over heads of (R + gamma^k V(s') - Q(s, a))^2."""
        with torch.no_grad():
            value = self.value(self.target.observer(batch.after))[0, :, 0]
            target = chunk_target(batch, value, step_cost=False)
        q = self.actor(batch.frames, batch.action.flatten(1))
        return (q - target).square().mean()

    def update(self, experience: Experience) -> dict[str, Tensor]:
        """One step of the values of states and of chunks."""
        batch = experience.batch(self.config.batch_size, steps=self.policy.n_action_steps)
        value_loss = self.value_loss(batch)
        descend(self.optimizers["value"], value_loss)
        critic_loss = self.critic_loss(batch)
        descend(self.optimizers["critic"], critic_loss)
        follow(self.target, self.actor, self.config.tau)
        return {"value_loss": value_loss.detach(), "critic_loss": critic_loss.detach()}

    def save(self, folder: Path) -> None:
        """Write the critic beside the base policy in `folder`."""
        save_best_of(folder, self.actor, candidates=self.config.candidates, temperature=self.config.temperature)
