"""Soft actor-critic (Haarnoja et al., 2018): a Gaussian squashed into bounds, and the weight of its entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from robolearn.config import SoftActorCriticConfig
from robolearn.rl.networks import EnsembleMLP
from robolearn.rl.observer import Observer

LOG_STD_RANGE = (-5.0, 1.0)


class SquashedGaussian(nn.Module):
    """x = b tanh(mu(o) + sigma(o) e) with e ~ N(0, I); mu = 0 and sigma = 1 / b until something is learned.

    Attributes:
        observer: gives o.
        bound: b, largest magnitude of a component.
    """

    def __init__(self, observer: Observer, dim: int, *, hidden: int, bound: float = 1.0) -> None:
        """Make the network for `dim` components."""
        super().__init__()
        self.observer, self.bound = observer, bound
        self.net = EnsembleMLP(observer.dim, 2 * dim, hidden=hidden)
        self.net.zero_last()

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Mu and log sigma [B, dim] from what is seen [B, observer.dim]."""
        mean, spread = self.net(seen)[0].chunk(2, dim=-1)
        return mean, (spread - math.log(self.bound)).clamp(*LOG_STD_RANGE)

    def draw(self, seen: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """X [B, dim] and log pi(x / b) per component [B], their mean, from Gaussian noise [B, dim].

        Per component, so that the weight of an entropy does not depend on how many there are.
        """
        mean, log_std = self(seen)
        z = mean + log_std.exp() * noise
        # log(1 - tanh(z)^2) in a form that does not round to log 0
        stretch = 2 * (math.log(2) - z - nn.functional.softplus(-2 * z))
        log_prob = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi) - stretch
        return self.bound * torch.tanh(z), log_prob.mean(dim=-1)


class Tempered:
    """An algorithm whose weight of the entropy, alpha, follows a target entropy.

    Attributes:
        temperature: log alpha.
    """

    def __init__(self, config: SoftActorCriticConfig) -> None:
        """Begin with the first temperature."""
        self.temperature = nn.ParameterDict({"log": torch.tensor(math.log(config.initial_temperature))})
        self._temperature_optimizer = torch.optim.Adam(self.temperature.parameters(), lr=config.temperature_lr)
        self._target_entropy = config.target_entropy

    def temperature_loss(self, log_prob: Tensor) -> Tensor:
        """Log alpha times how far the entropy lies above its target."""
        return -self.temperature["log"] * (log_prob.detach() + self._target_entropy)

    @property
    def alpha(self) -> Tensor:
        """Weight of the entropy."""
        return self.temperature["log"].detach().exp()
