"""Configuration of the stage-aware reward model."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.configs.rewards import RewardModelConfig

from robolearn.errors import UserError
from robolearn.rewards.model import RewardConfig


@RewardModelConfig.register_subclass("robolearn_sarm")
@dataclass
class SARMConfig(RewardConfig):
    """A transformer over a causal window of frames.

    Attributes:
        window: frames that are read, the present one included.
        gap: control steps between them.
        num_blocks: transformer blocks.
        num_heads: attention heads.
        true_stage: share of the training samples whose progress within the stage is learned under the true stage; the
            others are given the predicted one, as at run time.
    """

    window: int = 6
    gap: int = 3
    num_blocks: int = 2
    num_heads: int = 4
    true_stage: float = 0.75

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: a value makes no sense; the message says which would.
        """
        super().__post_init__()
        for name in ("window", "gap", "num_heads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.hidden_dim % self.num_heads:
            raise UserError(f"hidden_dim is {self.hidden_dim}: it must be a multiple of num_heads ({self.num_heads})")
        if not 0 <= self.true_stage <= 1:
            raise UserError(f"true_stage is {self.true_stage}: it must lie in 0..1")
