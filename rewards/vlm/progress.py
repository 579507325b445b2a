"""The progress of one world by a vision-language model."""

from __future__ import annotations

import numpy as np

from robolearn.protocols import Observation
from robolearn.rewards.vlm.asynchronous import UNJUDGED, AsyncProgress
from robolearn.schema import Progress


class VlmProgress:
    """Satisfies `robolearn.protocols.ProgressEstimator`.

    Until the model has judged a frame of the episode, it is where every episode begins: at no progress. Its success is
    the model's yes or no, 1 or 0.
    """

    def __init__(self, world: AsyncProgress, *, blocking: bool = False) -> None:
        """Serve what `world`, of one environment, holds.

        Args:
            world: asks.
            blocking: whether to wait for each answer, as for episodes that are over already.
        """
        self._world, self._blocking = world, blocking

    def reset(self) -> None:
        """Begin an episode."""
        self._world.reset()

    def update(self, observation: Observation, instruction: str) -> Progress:
        """Take the next frame (no batch axis) and return the progress at the newest frame that was judged.

        Raises:
            UserError: see `AsyncProgress.update`.
        """
        held = self._world.update({key: np.expand_dims(value, 0) for key, value in observation.items()}, [instruction])
        if self._blocking:
            held = self._world.wait()
        if held.step[0] == UNJUDGED:
            return Progress(0, 0.0, 0.0)
        value = float(held.progress[0])
        return Progress(stage_at(value, len(self._world.stages)), value, float(held.completed[0]))


def stage_at(progress: float, num_stages: int) -> int:
    """Return the stage that a task is in if its stages share its progress equally; `num_stages` when all are done."""
    return int(progress * num_stages + 1e-9)
