"""The loop of on-policy RL: roll out, estimate advantages, learn in epochs; the same for every algorithm.

Proximal policy optimisation (Schulman et al., 2017) of whatever has a likelihood ratio. The critic is a network of its
own, which learns alone at first: advantages of an untrained one would only shake the policy that is to be improved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from robolearn.acting import Acting
from robolearn.config import OnPolicyConfig
from robolearn.data.replay import Trajectory
from robolearn.protocols import VecEnv
from robolearn.rl.networks import EnsembleMLP, descend
from robolearn.rl.observer import Observer
from robolearn.rl.online import Learner, Metrics, Trainer
from robolearn.rl.potential import Shaping
from robolearn.rl.rollouts import Explorer, Rollout, Rollouts
from robolearn.rl.units import Units


class Critic(nn.Module):
    """Value of a frame."""

    def __init__(self, units: Units, *, hidden: int) -> None:
        """Make the network; the first value is 0 everywhere."""
        super().__init__()
        self.observer = Observer(units)
        self.net = EnsembleMLP(self.observer.dim, 1, hidden=hidden)
        self.net.zero_last()

    def forward(self, frames: dict[str, Tensor]) -> Tensor:
        """Normalised frames [B, ...] -> [B]."""
        value: Tensor = self.net(self.observer(frames))[0, :, 0]
        return value


class OnPolicyAlgorithm(Learner, Protocol):
    """An on-policy algorithm, as the loop sees it.

    Attributes:
        critic: learned by the loop.
        optimizers: "actor" and "critic".

    What `Learner.acting` gives is evaluated; `exploring` gives rollouts.
    """

    critic: Critic

    def exploring(self, rng: np.random.Generator) -> Explorer:
        """Who explores, with the weights of the moment."""

    def policy_loss(self, part: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of decisions, and figures: "divergence" from the policy that made them, and others for the log."""

    def update(self, rollout: Rollout) -> Metrics:
        """Learn from a rollout, as a rule by `learn`; returns figures for the log."""


class OnPolicyTrainer(Trainer[OnPolicyAlgorithm, OnPolicyConfig]):
    """On-policy RL, resumable from the folder `out`: a run that was killed goes on from its last evaluation."""

    def __init__(
        self,
        algorithm: OnPolicyAlgorithm,
        config: OnPolicyConfig,
        *,
        seed: int,
        out: Path,
        shaping: Shaping | None = None,
    ) -> None:
        """Take networks from `out`, where there are any; `shaping` as of `robolearn.rl.online.OnlineTrainer`."""
        super().__init__(algorithm, config, out=out)
        self._shaping = shaping
        # a resumed run goes on with fresh episodes and noise, never with those it has seen
        self.seed = (seed, self.clock.steps)

    def source(self, env: VecEnv, units: Units) -> Rollouts:
        """Worlds to learn in."""
        explorer = self.algorithm.exploring(np.random.default_rng((*self.seed, 1)))
        return Rollouts(
            env,
            explorer,
            units,
            seed=(*self.seed, 0),
            bootstrap_timeouts=self.config.bootstrap_timeouts,
            shaping=self._shaping,
        )

    def run(
        self,
        source: Rollouts,
        demonstrations: Sequence[Trajectory] = (),
        *,
        evaluate: Callable[[Acting], float],
        on_progress: Callable[[int, float, Metrics], None] | None = None,
    ) -> list[Metrics]:
        """Learn as `robolearn.rl.online.OnlineTrainer.run` does, of which it has the arguments.

        Demonstrations make no difference: likelihood ratios tell only of what the present policy does.
        """
        began, config, worlds = self.clock.steps, self.config, source.env.num_envs

        def value(frames: dict[str, Tensor]) -> Tensor:
            with torch.no_grad():
                return self.algorithm.critic(frames)

        def advance() -> Metrics:
            left = -(-(config.total_steps - self.clock.steps) // worlds)
            steps = min(config.rollout_steps, left)
            rollout = source.collect(steps, value, gamma=config.gamma, lam=config.gae_lambda)
            self.clock.steps = began + source.steps
            self._outcomes += source.outcomes
            metrics = self.algorithm.update(rollout)
            self.clock.updates += 1
            return metrics

        return self._loop(advance, evaluate=evaluate, on_progress=on_progress)


def optimizers(
    tuned: Sequence[nn.Parameter], critic: Critic, config: OnPolicyConfig
) -> dict[str, torch.optim.Optimizer]:
    """Those of what acts and of the critic."""
    return {
        "actor": torch.optim.Adam(tuned, lr=config.actor_lr, fused=True),
        "critic": torch.optim.Adam(critic.parameters(), lr=config.critic_lr, fused=True),
    }


def learn(algorithm: OnPolicyAlgorithm, rollout: Rollout, config: OnPolicyConfig) -> Metrics:
    """Go through a rollout `epochs` times; the policy stops early where it has left that of the rollout.

    Returns:
        Figures of the last batch of the policy and of the critic, and the gradient steps of the policy.
    """
    tuning = algorithm.clock.updates >= config.critic_warmup_rollouts
    figures: dict[str, Tensor] = {}
    steps = 0
    for _ in range(config.epochs):
        order = torch.randperm(len(rollout.steps), generator=algorithm.generator)
        for index in order.split(config.batch_size):
            part = rollout.part(index)
            if tuning:
                loss, told = algorithm.policy_loss(part)
                tuning = bool(told["divergence"] <= config.target_kl)
                figures |= {"policy_loss": loss.detach(), **told}
            if tuning:
                descend(algorithm.optimizers["actor"], loss)
                steps += 1
            error = (algorithm.critic(part.frames) - part.value_target).square().mean()
            descend(algorithm.optimizers["critic"], error)
            figures["critic_loss"] = error.detach()
    return {key: float(value) for key, value in figures.items()} | {"policy_steps": float(steps)}
