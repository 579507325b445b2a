"""Normalisation and its inverse, declared together; training, RL and the robot use the same object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.schema import Schema

Statistics = Mapping[str, Mapping[str, Any]]
LIMIT = 5.0  # standard deviations: what hardly moves in the data must not shout when it moves elsewhere
EPS = 1e-6  # a constant component becomes 0 instead of a division by zero


def plain_statistics(statistics: Statistics) -> dict[str, dict[str, Any]]:
    """Return statistics as plain JSON data."""
    return {key: {name: np.asarray(v).tolist() for name, v in one.items()} for key, one in statistics.items()}


@dataclass(frozen=True)
class Affine:
    """y = clip((x - offset) / scale, -limit, limit), per component."""

    offset: NDArray[np.float32]
    scale: NDArray[np.float32]
    limit: float = np.inf

    def __call__(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Physical units to network units."""
        return np.clip((x - self.offset) / self.scale, -self.limit, self.limit).astype(np.float32)

    def inverse(self, y: NDArray[Any]) -> NDArray[np.float32]:
        """Network units to physical units."""
        return (y * self.scale + self.offset).astype(np.float32)


class Normalizer:
    """Observations to zero mean and unit deviation, clipped at `LIMIT`; actions to [-1, 1] by their bounds.

    Pictures stay as they are, for policies scale pixels themselves. Actions go by the schema's bounds, not by the data:
    a residual must be able to leave the range that the demonstrations happened to cover, and [-1, 1] means the same to
    every algorithm.
    """

    def __init__(self, schema: Schema, statistics: Statistics) -> None:
        """Build from a schema and LeRobot-style statistics {channel: {"mean", "std", ...}}."""
        self.transforms: dict[str, Affine] = {}
        self.keys = schema.observation_keys
        for key in self.keys:
            if schema[key].is_picture:
                continue
            if key not in statistics:
                raise UserError(f"the statistics lack channel '{key}': compute them on a dataset that has it")
            mean = np.asarray(statistics[key]["mean"], np.float32)
            std = np.asarray(statistics[key]["std"], np.float32)
            self.transforms[key] = Affine(mean, np.where(std < EPS, 1.0, std).astype(np.float32), LIMIT)
        low, high = schema.action.low, schema.action.high
        if low is None or high is None:
            raise UserError("the action channel has no bounds: give `low` and `high` in the schema")
        lo, hi = np.array(low, np.float32), np.array(high, np.float32)
        middle, half = (hi + lo) / 2, (hi - lo) / 2
        self.transforms["action"] = Affine(middle.astype(np.float32), half.astype(np.float32))

    def __getitem__(self, key: str) -> Affine:
        return self.transforms[key]

    def observation(self, observation: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Normalise every observation channel but pictures; other channels are dropped."""
        return {key: self[key](observation[key]) if key in self.transforms else observation[key] for key in self.keys}
