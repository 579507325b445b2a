"""Between physical units and the normalised arrays that networks of online RL read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.networks.relations import pose_slots
from robolearn.normalize import Normalizer
from robolearn.schema import Schema

Frames = Mapping[str, NDArray[Any]]
VECTOR = "obs"  # all vectors of a frame in one


class Units:
    """Frames and actions of one policy's channels.

    Attributes:
        vectors: observation channels that are vectors, in the order of their components in `VECTOR`.
        pictures: shape [height, width, colours] of the other ones, which are kept as they are.
        obs_dim: width of `VECTOR`.
        poses: where poses begin in `VECTOR`.
        action_names: components of an action.
    """

    def __init__(self, normalizer: Normalizer, schema: Schema) -> None:
        """Read the observation channels of a schema and its action."""
        keys = schema.observation_keys
        self.normalizer = normalizer
        self.vectors = tuple(key for key in keys if key in normalizer.transforms)
        self.pictures = {key: schema[key].shape for key in keys if key not in normalizer.transforms}
        widths = [schema[key].shape[0] for key in self.vectors]
        self.obs_dim = sum(widths)
        slots = pose_slots(schema)
        begins = np.cumsum([0, *widths])[:-1].tolist()
        self.poses = tuple(
            begin + place for key, begin in zip(self.vectors, begins, strict=True) for place in slots.get(key, ())
        )
        self.action_names = schema.action.names

    def of_vector(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Offset and scale [obs_dim] of `VECTOR`, whose components are (physical - offset) / scale."""
        transforms = [self.normalizer[key] for key in self.vectors]
        return np.concatenate([one.offset for one in transforms]), np.concatenate([one.scale for one in transforms])

    def frame(self, frame: Frames) -> dict[str, NDArray[Any]]:
        """{VECTOR: [n, obs_dim], picture: uint8 [n, height, width, colours]} of channels [n, ...]."""
        vectors = [self.normalizer[key](frame[key]) for key in self.vectors]
        pictures = {key: np.array(frame[key], np.uint8) for key in self.pictures}
        if not vectors:
            vectors = [np.zeros((len(values), 0), np.float32) for values in list(pictures.values())[:1]]
        return {VECTOR: np.concatenate(vectors, axis=-1), **pictures}

    def action(self, action: NDArray[Any]) -> NDArray[np.float32]:
        """Physical action to [-1, 1]."""
        return np.clip(self.normalizer["action"](action), -1, 1)

    def physical(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Back to physical units."""
        return self.normalizer["action"].inverse(action)
