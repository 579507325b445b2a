"""Flow matching policy over action chunks (rectified flow, Liu et al. 2022), from low-dimensional observations.

A straight path leads from noise x_0 ~ N(0, I) at t = 0 to the demonstrated chunk x_1 at t = 1:

    x_t = (1 - t) x_0 + t x_1,    loss = || v(x_t, t | o) - (x_1 - x_0) ||^2,

and sampling integrates dx/dt = v from noise. All tensors are normalised; (un)normalisation happens outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.policies.flow.configuration_flow import FlowConfig
from robolearn.policies.flow.velocity import VelocityNetwork
from robolearn.sampling import euler
from robolearn.schema import Schema

MAX_TIME = 0.999  # beyond it nothing is left to learn


class FlowPolicy(PreTrainedPolicy):
    """LeRobot policy `robolearn_flow`."""

    config_class = FlowConfig
    name = "robolearn_flow"

    def __init__(self, config: FlowConfig, **_: Any) -> None:
        """Build the policy; LeRobot passes further arguments, such as the dataset's metadata, that it does not need."""
        super().__init__(config)
        config.validate_features()
        self.config: FlowConfig = config
        self.network = VelocityNetwork(
            observation_dims=config.observation_dims,
            n_obs_steps=config.n_obs_steps,
            horizon=config.horizon,
            action_dim=config.action_dim,
            hidden_dim=config.hidden_dim,
            num_blocks=config.num_blocks,
            condition_dim=config.condition_dim,
        )
        self.reset()

    def get_optim_params(self) -> list[nn.Parameter]:
        """Return the parameters to optimise."""
        return list(self.parameters())

    def reset(self) -> None:
        """Forget history and queued actions of `select_action`."""
        self._history: dict[str, deque[Tensor]] = {}
        self._queue: deque[Tensor] = deque()

    def forward(
        self,
        batch: Mapping[str, Tensor],
        reduction: str = "mean",
        *,
        noise: Tensor | None = None,
        time: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the flow matching loss.

        Args:
            batch: observations [B, n_obs_steps, dim], "action" [B, horizon, action_dim] and, optionally,
                "action_is_pad" [B, horizon], true where an action is only repeated.
            reduction: "mean", or "none" for one loss per sample [B], whose mean is the former.
            noise: x_0 [B, horizon, action_dim]; drawn when None.
            time: t [B]; drawn when None.

        Returns:
            The loss, and figures to log. Every unpadded action weighs the same.
        """
        action = batch["action"]
        noise = torch.randn_like(action) if noise is None else noise
        time = self._draw_time(action) if time is None else time
        sample = torch.lerp(noise, action, time[:, None, None])
        velocity = self.network(sample, time, self._observe(batch))
        error = (velocity - (action - noise)).square().mean(dim=2)
        if (pad := batch.get("action_is_pad")) is not None:
            valid = (~pad).to(error.dtype)
            error = error * valid / valid.mean()
        loss = error.mean() if reduction == "mean" else error.mean(dim=1)
        return loss, {"loss": float(loss.detach().mean())}

    @torch.no_grad()
    def predict_action_chunk(
        self, batch: Mapping[str, Tensor], noise: Tensor | None = None, num_samples: int = 1, **_: Any
    ) -> Tensor:
        """Return chunks sampled by Euler steps.

        Args:
            batch: observations [B, n_obs_steps, dim].
            noise: x_0 [B * num_samples, horizon, action_dim], the samples of one observation together; drawn when None.
            num_samples: chunks per observation.

        Returns:
            [B, horizon, action_dim], or [B, num_samples, horizon, action_dim] when `num_samples > 1`.
        """
        observed = self._observe(batch).repeat_interleave(num_samples, dim=0)
        shape = (len(observed), self.config.horizon, self.config.action_dim)
        if noise is None:
            noise = torch.randn(shape, device=observed.device)
        elif noise.shape != shape:
            raise ValueError(f"noise has shape {tuple(noise.shape)}, expected {shape}")

        def velocity(x: Tensor, t: float) -> Tensor:
            return self.network(x, torch.full((len(x),), t, device=x.device), observed)

        chunk: Tensor = euler(velocity, noise, steps=self.config.num_inference_steps)
        return chunk if num_samples == 1 else chunk.unflatten(0, (-1, num_samples))

    @torch.no_grad()
    def select_action(self, batch: Mapping[str, Tensor], noise: Tensor | None = None, **_: Any) -> Tensor:
        """Take the newest frame [B, dim] of each observation and return the action [B, action_dim] to execute."""
        for key in self.config.observation_keys:
            # an episode begins with its first frame repeated
            past = self._history.setdefault(key, deque([batch[key]] * self.config.n_obs_steps))
            past.append(batch[key])
            past.popleft()
        if not self._queue:
            stacked = {key: torch.stack(tuple(past), dim=1) for key, past in self._history.items()}
            chunk = self.predict_action_chunk(stacked, noise=noise)
            self._queue.extend(chunk[:, : self.config.n_action_steps].unbind(dim=1))
        return self._queue.popleft()

    def _observe(self, batch: Mapping[str, Tensor]) -> Tensor:
        if missing := [key for key in self.config.observation_keys if key not in batch]:
            raise UserError(
                f"the batch lacks channel '{missing[0]}', which the policy reads: use a dataset that has it"
            )
        return self.network.observe([batch[key] for key in self.config.observation_keys])

    def _draw_time(self, action: Tensor) -> Tensor:
        n, device = len(action), action.device
        if self.config.time_distribution == "logit_normal":
            return torch.sigmoid(torch.randn(n, device=device)).clamp(max=MAX_TIME)
        # Beta(a, 1) has the distribution function x^a, hence the inverse u^(1/a)
        return MAX_TIME * (1 - torch.rand(n, device=device) ** (1 / self.config.time_alpha))


def build(schema: Schema, **settings: Any) -> FlowPolicy:
    """Return an untrained policy for these channels; `settings` are fields of `FlowConfig`."""
    return FlowPolicy(FlowConfig.from_schema(schema, **settings))
