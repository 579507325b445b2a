"""From observation channels to the vector that a teacher reads: the channels, then the bodies as the tool sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.proprioception import POSE_DIM, objects_of
from robolearn.schema import Schema

Array = NDArray[np.float32]


def state_keys(schema: Schema) -> tuple[str, ...]:
    """Observation channels that are vectors: pictures are not for a teacher, which knows where things are."""
    return tuple(key for key in schema.observation_keys if len(schema[key].shape) == 1)


class TeacherFeatures:
    """Vectors [n, dim] of state observations of any task on any arm.

    Poses in the base frame alone make a network learn differences of large numbers. The pose of each body in the
    tool's frame is added.
    """

    def __init__(self, schema: Schema) -> None:
        """Prepare for observations with these channels."""
        self.keys = state_keys(schema)
        names = schema["observation.state"].names
        self._tool = names.index("tool_x") if "tool_x" in names else None
        environment = schema.features.get("observation.environment_state")
        self._bodies = 0 if environment is None or self._tool is None else len(objects_of(environment))
        self.dim = sum(schema[key].shape[0] for key in self.keys) + POSE_DIM * self._bodies

    def __call__(self, observation: Mapping[str, NDArray[Any]]) -> Array:
        """Features [n, dim] of channels [n, ...]."""
        parts = [observation[key] for key in self.keys]
        if self._bodies:
            parts.append(self._seen_from_tool(observation))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _seen_from_tool(self, observation: Mapping[str, NDArray[Any]]) -> Array:
        state = observation["observation.state"]
        tool = state[:, self._tool :][:, :POSE_DIM]
        x, y = tool[:, 3:6], tool[:, 6:9]
        axes = np.stack((x, y, np.cross(x, y)), axis=1)  # rows: the base frame's vectors as the tool sees them
        poses = observation["observation.environment_state"][:, : POSE_DIM * self._bodies]
        vectors = poses.reshape(len(state), self._bodies, 3, 3).copy()  # position and two columns of the rotation
        vectors[:, :, 0] -= tool[:, None, :3]
        seen: Array = np.einsum("nij,nbkj->nbki", axes, vectors)
        return seen.reshape(len(state), -1)
