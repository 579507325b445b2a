"""Simulate recorded episodes again, to see what a dataset without pictures shows."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.config import EnvConfig, RandomizationConfig, RobotConfig, TaskConfig
from robolearn.data.dataset import EpisodeDataset
from robolearn.errors import UserError

if TYPE_CHECKING:
    from robolearn.data.raw import RawDataset
    from robolearn.sim.image_observations import ImageObservations
    from robolearn.sim.vec_env import RobotVecEnv

STATE = "observation.state"
CAMERA, SIZE = "external", 192  # pixels
TOLERANCE = 1e-4  # rad and m by which a repeated episode may differ from the recorded one


@dataclass
class Replayed:
    """The worlds in which a dataset was collected, and its episodes."""

    env: RobotVecEnv
    eye: ImageObservations
    data: EpisodeDataset

    @classmethod
    def of(cls, raw: RawDataset) -> Replayed | None:
        """Make the worlds by the settings that `robolearn collect` leaves; None where there are none."""
        from robolearn.commands.worlds import make_env
        from robolearn.sim.image_observations import ImageObservations

        path = raw.root / "settings.json"
        if not path.exists() or "seed" not in raw.extras:
            return None
        try:
            settings = json.loads(path.read_text())
            env = make_env(
                TaskConfig(**settings["task"]),
                RobotConfig(name=settings["robot"]),
                EnvConfig(num_envs=1, threads=1, backend="mujoco", device=None, cameras=[], image_size=84),
                randomization=_randomization(settings.get("randomization")),
            )
        except (ValueError, KeyError, TypeError, UserError):
            return None  # of another version: there is nothing to see
        return cls(env, ImageObservations(env.worlds, [CAMERA], size=SIZE), EpisodeDataset.load(raw.root))

    def draw(self, number: int, frames: Collection[int]) -> list[tuple[int, NDArray[np.uint8]]]:
        """Repeat the actions of an episode from its seed, and return some frames [height, width, 3] by their number.

        Nothing is returned where what happens is not what was recorded, e.g. on another version of the simulator.
        """
        recorded = self.data.episode(number)
        observation, _ = self.env.reset(seed=[int(self.data.columns["seed"][number])])
        seen = []
        for t, (state, action) in enumerate(zip(recorded[STATE], recorded["action"], strict=True)):
            if not np.allclose(observation[STATE][0], state, atol=TOLERANCE):
                return []
            if t in frames:
                seen.append((t, self.eye.draw()[f"observation.images.{CAMERA}"][0].copy()))
            observation, *_ = self.env.step(action[None])
        return seen


def _randomization(settings: dict[str, Any] | None) -> RandomizationConfig | None:
    return None if settings is None else RandomizationConfig(**settings)
