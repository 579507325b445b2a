"""ReinFlow (Zhang et al., "ReinFlow: Fine-tuning Flow Matching Policy with Online Reinforcement Learning", 2025).

A learned noise turns the K Euler steps of a flow into a Markov process with Gaussian transitions,

    x_{k+1} ~ N(x_k + v(x_k, t_k | o) / K, sigma(x_k, t_k, o)^2),    t_k = k / K,    x_0 ~ N(0, I),

so that the log-likelihood of a chunk's way is an exact sum, and PPO can raise it. As published, the log-likelihood that
enters the ratio is averaged over steps and components: a ratio of a whole way would leave any narrow clip at once.
The noise is bounded, the upper bound falls; evaluation and the saved policy use none.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from robolearn.config import ReinFlowConfig
from robolearn.errors import UserError
from robolearn.language import TASK
from robolearn.rl.networks import EnsembleMLP
from robolearn.rl.on_policy import learn, optimizers
from robolearn.rl.online import Metrics
from robolearn.rl.proximal import clipped_loss, divergence
from robolearn.rl.rollouts import Explorer, Rollout
from robolearn.rl.tuned import Exploring, Sampled, TunablePolicy, Tuning, changes, given, walk
from robolearn.rl.units import Units


class NoiseNetwork(nn.Module):
    """sigma(x, t, o) between `low` and `high`, at first their geometric mean.

    Attributes:
        high: the present upper bound.
    """

    high: Tensor

    def __init__(self, *, chunk_dim: int, observed_dim: int, hidden: int, low: float, high: float) -> None:
        """Make the network."""
        super().__init__()
        self.low = low
        self.register_buffer("high", torch.tensor(high))
        self.net = EnsembleMLP(chunk_dim + 1 + observed_dim, chunk_dim, hidden=hidden)
        self.net.zero_last()

    def forward(self, x: Tensor, time: Tensor, observed: Tensor) -> Tensor:
        """Deviations [B, horizon, action_dim] of the step from x [B, horizon, action_dim] at `time` [B].

        What was observed enters without gradient: features of the policy are learned by what it does.
        """
        read = torch.cat((x.flatten(1), time[:, None], observed.flatten(1).detach()), dim=1)
        share = torch.sigmoid(self.net(read)[0]).view_as(x)
        return self.low * (self.high / self.low) ** share


class ReinFlow(Tuning):
    """Networks, losses and updates; see `robolearn.rl.on_policy.OnPolicyAlgorithm`."""

    def __init__(self, config: ReinFlowConfig, *, policy: TunablePolicy, units: Units, seed: int) -> None:
        """Initialise from a seed; the policy's own weights are changed, and its number of steps.

        Raises:
            UserError: the policy is no flow of ours, or the bounds of the noise cross.
        """
        super().__init__(config, policy=policy, units=units, seed=seed, samplers=("euler", "shortcut"), algo="reinflow")
        if config.noise_high * config.noise_decay < config.noise_low:
            raise UserError("algo.noise_high times algo.noise_decay must not be less than algo.noise_low")
        self.config = config
        if config.denoising_steps is not None:
            # made anew, so that the policy's own checks are
            policy.policy.config = replace(policy.policy.config, num_inference_steps=config.denoising_steps)
        sampler = policy.policy.sampler
        self.steps: int = sampler["steps"]
        self.knows_step = sampler["name"] == "shortcut"
        self.noise = NoiseNetwork(
            chunk_dim=policy.horizon * policy.schema.action.shape[0],
            observed_dim=observed_dim(policy),
            hidden=config.hidden,
            low=config.noise_low,
            high=config.noise_high,
        )
        self.modules["noise"] = self.noise
        self.optimizers = optimizers([*self.actor.parameters(), *self.noise.parameters()], self.critic, config)

    def exploring(self, rng: np.random.Generator) -> Explorer:
        """See `robolearn.rl.on_policy.OnPolicyAlgorithm.exploring`; each world has noise of its own."""
        return Exploring(self.policy, self.sample, draws=1 + self.steps).explorer()

    def sample(self, observed: Tensor, noise: Tensor) -> Sampled:
        """Chunks [n, H, A], and their ways "chain" [n, K + 1, H, A] with "log_prob" [n, K, H] of each transition."""
        return walk(self.transition, observed, noise, kept=self.steps)

    def transition(self, x: Tensor, k: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation [B, H, A] of what follows x at the sampler's step k [B]."""
        time = k / self.steps
        step = (torch.full_like(time, 1 / self.steps),) if self.knows_step else ()
        velocity = self.policy.policy.network(x, time, observed, *step)
        return x + velocity / self.steps, self.noise(x, time, observed)

    def log_ratio(self, part: Rollout) -> tuple[Tensor, Tensor]:
        """Mean difference [B] of new and old log-density over transitions and components, and the new deviations."""
        observed = self.policy.policy.observe(given(part.note))
        change, components, std = changes(self.transition, observed, part, steps=self.steps)
        return change.sum(dim=(1, 2)) / components.sum(dim=(1, 2)), std

    def policy_loss(self, part: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """Clipped objective, less the entropy's weight times the mean log-deviation of the noise."""
        log_ratio, std = self.log_ratio(part)
        entropy = std.log().mean()
        loss = clipped_loss(log_ratio, part.advantage, self.config.clip).mean() - self.config.entropy_weight * entropy
        return loss, {"divergence": divergence(log_ratio), "noise": std.detach().mean()}

    def update(self, rollout: Rollout) -> Metrics:
        """Learn, then lower the bound of the noise: never between a rollout and its ratios."""
        figures = learn(self, rollout, self.config)
        share = min(self.clock.steps / self.config.total_steps, 1.0)
        self.noise.high.fill_(self.config.noise_high * self.config.noise_decay**share)
        return figures


def observed_dim(policy: TunablePolicy) -> int:
    """Numbers that `observe` makes of one observation."""
    schema = policy.schema
    frame = {
        key: np.zeros(
            (1, policy.n_obs_steps, *schema[key].shape), np.uint8 if len(schema[key].shape) == 3 else np.float32
        )
        for key in schema.observation_keys
    }
    told = {TASK: np.array([""])} if policy.reads_task else {}
    with torch.no_grad():
        return int(policy.policy.observe(policy.prepare({**frame, **told}))[0].numel())
