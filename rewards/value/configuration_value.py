"""Configuration of the critic whose value is progress."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.configs.rewards import RewardModelConfig

from robolearn.errors import UserError
from robolearn.rewards.model import RewardConfig


@RewardModelConfig.register_subclass("robolearn_value")
@dataclass
class ValueConfig(RewardConfig):
    """A distributional critic and an actor, learned offline.

    Attributes:
        action_dim: components of an action.
        clip_frames: consecutive frames of a training clip.
        n_step: control steps after which the target critics take over.
        gamma: discount of a control step.
        num_atoms: places in [0, 1] over which a value is distributed.
        polyak: share of the weights that the target networks take over at every step.
        alpha: weight of the value against imitation in the actor's loss.
        noise: deviation of the noise on the target actor's actions, which lie in [-1, 1].
        noise_clip: at which it is cut.
    """

    action_dim: int = 1
    clip_frames: int = 20
    n_step: int = 10
    gamma: float = 0.98
    num_atoms: int = 51
    polyak: float = 0.01
    alpha: float = 2.5
    noise: float = 0.2
    noise_clip: float = 0.5

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: a value makes no sense; the message says which would.
        """
        super().__post_init__()
        for name, low in (("action_dim", 1), ("clip_frames", 2), ("n_step", 1), ("num_atoms", 2)):
            if getattr(self, name) < low:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least {low}")
        for name in ("gamma", "polyak"):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must lie in (0, 1]")
        for name in ("alpha", "noise", "noise_clip"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}: it must not be negative")
