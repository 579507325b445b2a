"""Configuration of the pair critic."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.configs.rewards import RewardModelConfig

from robolearn.errors import UserError
from robolearn.rewards.model import RewardConfig


@RewardModelConfig.register_subclass("robolearn_pairwise")
@dataclass
class PairwiseConfig(RewardConfig):
    """A critic of pairs of frames.

    Attributes:
        clip_frames: frames of a training clip, of which all pairs are learned.
        gap: control steps between them; at run time, over which the incremental estimate hops.
        num_goals: frames that are kept as references of a task that is done.
        sharpness: a of the consistency weight exp(-a D^2).
    """

    clip_frames: int = 8
    gap: int = 8
    num_goals: int = 8
    sharpness: float = 4.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: a value makes no sense; the message says which would.
        """
        super().__post_init__()
        for name, low in (("clip_frames", 2), ("gap", 1), ("num_goals", 1), ("sharpness", 0)):
            if getattr(self, name) < low:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least {low}")
