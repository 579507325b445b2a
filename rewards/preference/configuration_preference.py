"""Configuration of the preference model."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.configs.rewards import RewardModelConfig

from robolearn.errors import UserError
from robolearn.rewards.model import RewardConfig


@RewardModelConfig.register_subclass("robolearn_preference")
@dataclass
class PreferenceConfig(RewardConfig):
    """A potential of frames.

    Attributes:
        clip_frames: frames of a training clip.
        gap: control steps between them.
        margin: control steps by which the later of two frames of an episode must be behind to be the better one.
    """

    clip_frames: int = 8
    gap: int = 8
    margin: int = 4

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: a value makes no sense; the message says which would.
        """
        super().__post_init__()
        for name, low in (("clip_frames", 2), ("gap", 1), ("margin", 1)):
            if getattr(self, name) < low:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least {low}")
