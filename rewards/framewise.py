"""Models that read every frame on its own."""

from __future__ import annotations

from torch import Tensor

from robolearn.rewards.model import Reading, RewardModel


class FramewiseModel(RewardModel):
    """A model without memory: what it says of an episode's frames, it says of each of them."""

    name = "robolearn_framewise"

    def start(self) -> None:
        """See `RewardModel.start`."""

    def step(self, state: None, features: Tensor) -> tuple[None, Reading]:
        """See `RewardModel.step`."""
        return None, Reading(*(value[0] for value in self.episode(features[None])))
