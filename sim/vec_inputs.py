"""What every batch of worlds does alike with its arguments: spaces of a schema, seeds, masks, actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.schema import Feature, Schema

Seed = int | Sequence[int | None] | None


def make_spaces(schema: Schema) -> tuple[spaces.Dict, spaces.Box]:
    """Observation and action space of one world."""
    action = schema.action
    return (
        spaces.Dict({key: _space(schema[key]) for key in schema.observation_keys}),
        spaces.Box(np.array(action.low, np.float32), np.array(action.high, np.float32), dtype=np.float32),
    )


def _space(feature: Feature) -> spaces.Box:
    dtype = np.dtype(np.uint8 if feature.dtype == "image" else feature.dtype)
    if dtype.kind == "f":
        return spaces.Box(-np.inf, np.inf, feature.shape, dtype.type)
    return spaces.Box(np.iinfo(dtype).min, np.iinfo(dtype).max, feature.shape, dtype.type)


def spread_seeds(seed: Seed, num_envs: int) -> list[int | None]:
    """One seed per world, None where a world keeps its generator; an integer s becomes s, s + 1, ...

    Raises:
        UserError: another number of seeds than worlds.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, int | np.integer):
        return [int(seed) + i for i in range(num_envs)]
    if len(seed) != num_envs:
        raise UserError(f"{len(seed)} seeds for {num_envs} worlds: give one seed, or one per world")
    return [None if value is None else int(value) for value in seed]


def chosen_worlds(options: dict[str, Any] | None, num_envs: int) -> NDArray[np.intp]:
    """Indices of the worlds that `options["reset_mask"]` names; all without it.

    Raises:
        ValueError: a mask of another shape or dtype.
    """
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return np.arange(num_envs)
    mask = np.asarray(mask)
    if mask.shape != (num_envs,) or mask.dtype != np.bool_:
        raise ValueError(f"reset_mask is {mask.dtype} {mask.shape}, expected bool {(num_envs,)}")
    return np.flatnonzero(mask)


def checked_actions(actions: Any, feature: Feature, num_envs: int) -> NDArray[np.float64]:
    """Actions [num_envs, action_dim] as float64.

    Raises:
        ValueError: another shape, or a value that is not finite; names its world and component.
    """
    wanted = np.asarray(actions, np.float64)
    expected = (num_envs, *feature.shape)
    if wanted.shape != expected:
        raise ValueError(f"actions have shape {wanted.shape}, expected {expected}")
    if not np.isfinite(wanted).all():
        world, dim = np.argwhere(~np.isfinite(wanted))[0]
        raise ValueError(f"action '{feature.names[dim]}' of world {world} is not finite")
    return wanted
