"""Chunked TD: the best of several chunks of a frozen base acts.

The best-of-N variant of Q-chunking (Li et al., "Reinforcement Learning with Action Chunking", 2025):

    Q(s_t, a_t:t+h) <- sum_i gamma^i r_t+i + gamma^h max_j min Q'(s_t+h, a_j),    a_j ~ base(s_t+h),  j = 1 .. N

The base is frozen, so that the N chunks of a frame are sampled once, when its episode ends.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from robolearn.acting import Acting
from robolearn.config import ChunkedTDConfig
from robolearn.data.replay import Trajectory
from robolearn.protocols import Policy
from robolearn.rl.best_of import BestOfPolicy, chunk_critic, save_best_of
from robolearn.rl.chunks import PLANS, chunk_target, least_of_two, with_plans
from robolearn.rl.experience import Batch, Experience
from robolearn.rl.networks import descend, follow
from robolearn.rl.online import Clock
from robolearn.rl.units import Units


class ChunkedTD:
    """Networks, losses and updates; see `robolearn.rl.online.Algorithm`."""

    def __init__(self, config: ChunkedTDConfig, *, policy: Policy, units: Units, seed: int) -> None:
        """Initialise from a seed, on top of a policy that draws noise."""
        self.config, self.policy, self.units, self.clock = config, policy, units, Clock()
        torch.manual_seed(seed)
        self.actor = chunk_critic(config, policy, units)
        self.target = copy.deepcopy(self.actor).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {"target": self.target}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "critic": torch.optim.Adam(self.actor.parameters(), lr=config.critic_lr, fused=True)
        }
        self.generator = torch.Generator().manual_seed(seed)
        self._rng = np.random.default_rng(seed)

    def acting(self, rng: np.random.Generator | None) -> Acting:
        """See `robolearn.rl.online.Algorithm.acting`."""
        temperature = 0.0 if rng is None else self.config.temperature
        candidates = self.config.candidates
        return Acting(BestOfPolicy(self.policy, self.actor, self.units, candidates=candidates, temperature=temperature))

    def complete(self, trajectory: Trajectory) -> Trajectory:
        """Add the chunks between which the target chooses."""
        count = self.config.target_candidates
        return with_plans(trajectory, self.policy, self.units, self._rng, count=count)

    def critic_loss(self, batch: Batch) -> Tensor:
        """Mean over heads of the squared error."""
        with torch.no_grad():
            seen, plans = self.target.observer(batch.after), batch.after[PLANS].float()
            value = least_of_two(self.target.net, seen, plans, self.generator).amax(dim=1)
            target = chunk_target(batch, value, step_cost=self.config.step_cost)
        q = self.actor(batch.frames, batch.action.flatten(1))
        return (q - target).square().mean()

    def update(self, experience: Experience) -> dict[str, Tensor]:
        """One step of the critic; its target follows."""
        batch = experience.batch(self.config.batch_size, steps=self.policy.n_action_steps)
        loss = self.critic_loss(batch)
        descend(self.optimizers["critic"], loss)
        follow(self.target, self.actor, self.config.tau)
        return {"critic_loss": loss.detach()}

    def save(self, folder: Path) -> None:
        """Write the critic beside the base policy in `folder`."""
        save_best_of(folder, self.actor, candidates=self.config.candidates, temperature=0.0)
