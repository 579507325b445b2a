"""Flow matching policy over action chunks, from state and pictures.

Rectified flow (Liu et al. 2022): a straight path leads from noise x_0 ~ N(0, I) at t = 0 to the demonstrated chunk x_1
at t = 1,

    x_t = (1 - t) x_0 + t x_1,    loss = || v(x_t, t | o) - (x_1 - x_0) ||^2,

and sampling integrates dx/dt = v from noise.

Shortcut (Frans et al. 2024): the network also knows the step size d; d = 0 is the flow above. A share of the samples
learns that one step of size 2d is two of size d,

    s(x_t, t, 2d) = (s(x_t, t, d) + s(x_{t+d}, t + d, d)) / 2,    x_{t+d} = x_t + d s(x_t, t, d),

so that a single step of size 1 leads from noise to data.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robolearn.policies.chunk_policy import ChunkPolicy, Example
from robolearn.policies.flow.configuration_flow import FlowConfig
from robolearn.policies.guidance import Previous
from robolearn.sampling import Model, sample
from robolearn.schema import Schema

MAX_TIME = 0.999  # beyond it nothing is left to learn


class FlowPolicy(ChunkPolicy):
    """LeRobot policy `robolearn_flow`."""

    config_class = FlowConfig
    name = "robolearn_flow"
    config: FlowConfig

    @property
    def sampler(self) -> dict[str, Any]:
        """See `ChunkPolicy.sampler`."""
        name = "shortcut" if self.knows_step else self.config.sampler
        return {"name": name, "steps": self.config.num_inference_steps}

    @property
    def knows_step(self) -> bool:
        """See `ChunkPolicy.knows_step`."""
        return self.config.variant == "shortcut"

    def example(self, action: Tensor, observed: Tensor, *, noise: Tensor, time: Tensor | None) -> Example:
        """See `ChunkPolicy.example`; the network answers with the velocity."""
        time = self._draw_time(action) if time is None else time
        flow = Example(torch.lerp(noise, action, time[:, None, None]), time, action - noise)
        return self._with_shortcuts(flow, action, noise, observed) if self.knows_step else flow

    def sample_guided(self, model: Model, noise: Tensor, previous: Previous) -> Tensor:
        """See `ChunkPolicy.sample_guided`."""

        def velocity(x: Tensor, time: float, *step: float) -> Tensor:
            return -previous.guide(x, 1 - time, lambda x: -model(x, time, *step))

        guided: Tensor = sample(velocity, noise, self.sampler)
        return guided

    def _draw_time(self, action: Tensor) -> Tensor:
        n, device = len(action), action.device
        if self.config.time_distribution == "logit_normal":
            return torch.sigmoid(torch.randn(n, device=device)).clamp(max=MAX_TIME)
        # Beta(a, 1) has the distribution function x^a, hence the inverse u^(1/a)
        return MAX_TIME * (1 - torch.rand(n, device=device) ** (1 / self.config.time_alpha))

    def _with_shortcuts(self, flow: Example, action: Tensor, noise: Tensor, observed: Tensor) -> Example:
        """Let some samples learn self-consistency; which ones is drawn for each alone."""
        n, device = len(action), action.device
        finest = self.config.shortcut_steps
        # 2d is 2/finest, 4/finest, ... 1, and t a multiple of it
        level = torch.randint(0, finest.bit_length() - 1, (n,), device=device)
        double = 2.0 ** (1 + level) / finest
        start = (torch.rand(n, device=device) / double).floor().clamp(max=1 / double - 1) * double
        chosen = (torch.rand(n, device=device) < self.config.shortcut_share).nonzero()[:, 0]
        step = torch.zeros_like(flow.time)
        if not len(chosen):
            return flow._replace(step=step)
        start, double = start[chosen], double[chosen]
        x = torch.lerp(noise[chosen], action[chosen], start[:, None, None])
        target = self._two_steps(x, start, double / 2, observed[chosen])
        return Example(
            flow.sample.index_copy(0, chosen, x),
            flow.time.index_copy(0, chosen, start),
            flow.target.index_copy(0, chosen, target.to(flow.target.dtype)),
            step.index_copy(0, chosen, double),
        )

    @torch.no_grad()
    def _two_steps(self, x: Tensor, time: Tensor, size: Tensor, observed: Tensor) -> Tensor:
        """Return the mean velocity of two steps of `size` [B] from x at `time` [B]."""
        known = torch.where(size * self.config.shortcut_steps > 1, size, 0.0)  # the smallest step is the flow itself
        first = self._fused(x, time, observed, known)
        second = self._fused(x + size[:, None, None] * first, time + size, observed, known)
        return (first + second) / 2

    def _fused(self, *inputs: Tensor) -> Tensor:
        prediction: Tensor = self.network(*inputs)
        return prediction[0] if self.config.horizons else prediction


def build(schema: Schema, **settings: Any) -> FlowPolicy:
    """Return an untrained policy for these channels; `settings` are fields of `FlowConfig`."""
    return FlowPolicy(FlowConfig.from_schema(schema, **settings))
