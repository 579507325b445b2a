"""Real-time chunking: a new chunk that goes on where the one before is being executed (Black et al. 2025).

The guidance itself is LeRobot's `RTCProcessor`; it thinks in flows from noise at time 1 to data at time 0, with the
velocity noise - data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from lerobot.policies.rtc.modeling_rtc import RTCProcessor
from torch import Tensor


@dataclass(frozen=True)
class Previous:
    """What is left of the chunk before.

    Attributes:
        left_over: [B, steps, action_dim].
        delay: its first actions, which will have been executed when the new chunk is ready.
        execution_horizon: actions that draw the new chunk; the processor's own number when None.
        processor: computes the guidance.
    """

    left_over: Tensor
    delay: int
    execution_horizon: int | None
    processor: RTCProcessor

    @classmethod
    def of(
        cls,
        left_over: Tensor,
        *,
        batch: int,
        num_samples: int,
        delay: int,
        execution_horizon: int | None,
        processor: RTCProcessor,
    ) -> Self:
        """Repeat a rest [steps, action_dim] or [batch, steps, action_dim] for every sample."""
        rest = left_over.expand(batch, -1, -1).repeat_interleave(num_samples, dim=0)
        return cls(rest, delay, execution_horizon, processor)

    def guide(self, x: Tensor, time: float, velocity: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the velocity noise - data at `x`, which holds a share `time` of noise, drawn towards the rest."""
        guided: Tensor = self.processor.denoise_step(
            x_t=x,
            prev_chunk_left_over=self.left_over[:, : x.shape[1]],
            inference_delay=self.delay,
            time=time,
            original_denoise_step_partial=velocity,
            execution_horizon=self.execution_horizon,
        )
        return guided

    def keep_frozen(self, chunk: Tensor) -> Tensor:
        """Return `chunk` beginning with the actions that are executed in any case."""
        frozen = self.left_over[:, : min(self.delay, chunk.shape[1])]
        return torch.cat((frozen, chunk[:, frozen.shape[1] :]), dim=1)
