"""Configuration of the flow matching policy."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.configs import PreTrainedConfig

from robolearn.errors import UserError
from robolearn.policies.chunk_config import ChunkConfig

VARIANTS = ("rectified", "shortcut")
SAMPLERS = ("euler", "heun")
TIME_DISTRIBUTIONS = ("beta", "logit_normal")


@PreTrainedConfig.register_subclass("robolearn_flow")
@dataclass
class FlowConfig(ChunkConfig):
    """Flow matching over action chunks.

    Attributes:
        variant: "rectified" (Liu et al. 2022), or "shortcut" (Frans et al. 2024), whose network also knows the
            sampler's step size and needs but one step.
        sampler: of rectified flows: "euler", or "heun" with two evaluations per step.
        time_distribution: how the flow's time t is drawn in training. "beta": 1 - t ~ Beta(time_alpha, 1), which
            favours the noisy end (Black et al. 2024, pi0); "logit_normal": logit(t) ~ N(0, 1) (Esser et al. 2024).
        time_alpha: see there.
        shortcut_share: share of the samples that learn self-consistency instead of the flow.
        shortcut_steps: steps of the finest grid that they use, a power of two.
    """

    variant: str = "rectified"
    sampler: str = "euler"
    time_distribution: str = "beta"
    time_alpha: float = 1.5
    shortcut_share: float = 0.25
    shortcut_steps: int = 64

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: a value makes no sense; the message says which would.
        """
        super().__post_init__()
        self.require_one_of("variant", VARIANTS)
        self.require_one_of("sampler", SAMPLERS)
        self.require_one_of("time_distribution", TIME_DISTRIBUTIONS)
        if self.variant == "shortcut":
            self._check_shortcut()

    def _check_shortcut(self) -> None:
        finest, steps = self.shortcut_steps, self.num_inference_steps
        if finest < 2 or finest & (finest - 1):
            raise UserError(f"shortcut_steps is {finest}: it must be a power of two, at least 2")
        if steps > finest or steps & (steps - 1):
            raise UserError(
                f"num_inference_steps is {steps}: a shortcut flow takes 1, 2, 4, ... steps, at most {finest}"
            )
        if not 0 < self.shortcut_share < 1:
            raise UserError(f"shortcut_share is {self.shortcut_share}: it must lie between 0 and 1")
        if self.sampler != "euler":
            raise UserError(f"sampler={self.sampler} is for rectified flows: give sampler=euler")
