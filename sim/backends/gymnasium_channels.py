"""Channels of our schema out of Gymnasium's spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.schema import Feature

Path = tuple[str, ...]

STATE = "observation.state"
ENVIRONMENT_STATE = "observation.environment_state"
ROOT = "observation"  # name of an observation that is no dictionary
PIXELS = "pixels"
# entries that hold what the robot senses of itself; other vectors tell of its surroundings and its goal
STATE_KEYS = (ROOT, "agent_pos", "state", STATE)


@dataclass(frozen=True)
class Channel:
    """One channel: its feature and the entries of the environment's observation that it is made of."""

    feature: Feature
    paths: tuple[Path, ...]

    def read(self, observation: Any) -> NDArray[Any]:
        """The channel's value in one observation of the environment."""
        parts = [_entry(observation, path) for path in self.paths]
        if self.feature.dtype == "image":
            return np.asarray(parts[0], np.uint8)
        flat = [np.ravel(part) for part in parts]
        return (flat[0] if len(flat) == 1 else np.concatenate(flat)).astype(np.float32)  # a copy


def observation_channels(space: spaces.Space[Any]) -> dict[str, Channel]:
    """Channels of an observation space, a Box or a dictionary (of dictionaries) of them.

    - vectors: `observation.state` from the entries `STATE_KEYS`, `observation.environment_state` from the others, such
      as a GoalEnv's goals; all in `observation.state` where there is no such entry; dimensions flattened;
    - pictures (uint8, height x width x 1, 3 or 4): `observation.images.<entry>`, `pixels` where it is the only one.

    Raises:
        UserError: an entry of another kind.
    """
    leaves = _leaves(space)
    pictures = {path: box for path, box in leaves.items() if _is_picture(box)}
    vectors = {path: box for path, box in leaves.items() if path not in pictures}
    inner = {path: box for path, box in vectors.items() if _key(path) in STATE_KEYS} or vectors
    outer = {path: box for path, box in vectors.items() if path not in inner}
    channels = {key: _vector(group) for key, group in ((STATE, inner), (ENVIRONMENT_STATE, outer)) if group}
    for path, box in pictures.items():
        name = "_".join(part for part in path if part != PIXELS) or PIXELS
        feature = Feature("image", box.shape, ("height", "width", "channels"), ("1",) * 3, "observation")
        channels[f"observation.images.{name}"] = Channel(feature, (path,))
    return channels


def action_feature(space: spaces.Space[Any], env_id: str, names: tuple[str, ...] | None = None) -> Feature:
    """Channel `action` of an action space, flattened; its components are numbered where nobody knows their `names`.

    Raises:
        UserError: it is no box of real numbers, or it has no bounds.
    """
    if not isinstance(space, spaces.Box) or space.dtype is None or space.dtype.kind != "f":
        raise UserError(f"the actions of '{env_id}' are {space}: only boxes of real numbers can be used")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise UserError(
            f"the actions of '{env_id}' have no bounds: wrap it in gymnasium.wrappers.RescaleAction or ClipAction "
            "with finite ones, and register that"
        )
    if names is None:
        names = tuple(f"action_{i}" for i in range(int(np.prod(space.shape))))
    low, high = (tuple(np.ravel(bound).tolist()) for bound in (space.low, space.high))
    return Feature("float32", (len(names),), names, ("1",) * len(names), "action", low, high)


def _leaves(space: spaces.Space[Any], path: Path = ()) -> dict[Path, spaces.Box]:
    if isinstance(space, spaces.Dict):
        return {p: box for key, part in space.spaces.items() for p, box in _leaves(part, (*path, key)).items()}
    if not isinstance(space, spaces.Box):
        raise UserError(f"the observation '{_key(path)}' is {space}: only boxes and dictionaries of them can be used")
    return {path: space}


def _is_picture(box: spaces.Box) -> bool:
    return box.dtype == np.uint8 and len(box.shape) == 3 and box.shape[-1] in (1, 3, 4)


def _vector(boxes: dict[Path, spaces.Box]) -> Channel:
    names = tuple(f"{_key(path)}_{i}" for path, box in boxes.items() for i in range(int(np.prod(box.shape))))
    feature = Feature("float32", (len(names),), names, ("1",) * len(names), "observation")
    return Channel(feature, tuple(boxes))


def _key(path: Path) -> str:
    return path[-1] if path else ROOT


def _entry(observation: Any, path: Path) -> Any:
    for key in path:
        observation = observation[key]
    return observation
