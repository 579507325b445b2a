"""A schema for datasets that other programs wrote: LeRobot's features know no roles, units or bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.data import layout
from robolearn.errors import UserError
from robolearn.schema import BOOKKEEPING, Feature, Schema

UNKNOWN_UNIT = "unknown"


def infer_schema(features: Mapping[str, Mapping[str, Any]], *, fps: int) -> Schema:
    """Return the schema of the numeric channels with one axis, in the dataset's order.

    Raises:
        UserError: there is no such channel called `action`.
    """
    channels = {
        key: _feature(key, feature)
        for key, feature in features.items()
        if key not in BOOKKEEPING and _is_vector(feature)
    }
    if "action" not in channels:
        raise UserError("the dataset has no channel 'action' of numbers: only action-labelled datasets can be used")
    return Schema(channels, fps=int(fps))


def with_action_bounds(schema: Schema, action: NDArray[np.float32]) -> Schema:
    """Return the schema with the action bounded by the data [frames, n] where it is unbounded.

    A component that never changes gets a range of 1 to each side, since a normaliser divides by it.
    """
    if schema.action.low is not None and schema.action.high is not None:
        return schema
    low, high = action.min(axis=0), action.max(axis=0)
    margin = np.where(high > low, 0.0, 1.0)
    bounded = replace(schema.action, low=_floats(low - margin), high=_floats(high + margin))
    return replace(schema, features={**schema.features, "action": bounded})


def _feature(key: str, feature: Mapping[str, Any]) -> Feature:
    width = int(feature["shape"][0])
    names = _names(feature.get("names"))
    if len(names) != width:
        names = tuple(f"{key.rsplit('.', 1)[-1]}_{i}" for i in range(width))
    return Feature(str(feature["dtype"]), (width,), names, (UNKNOWN_UNIT,) * width, _role(key))


def _is_vector(feature: Mapping[str, Any]) -> bool:
    if feature["dtype"] in ("image", "video", "string", "language") or len(feature["shape"]) != 1:
        return False
    return np.dtype(feature["dtype"]).kind in "biuf"


def _role(key: str) -> str:
    if key == "action":
        return "action"
    if key.startswith("privileged."):
        return "privileged"
    return "observation" if key.startswith("observation.") and key != layout.STAGE else "annotation"


def _names(names: Any) -> tuple[str, ...]:
    # LeRobot allows a list, a dictionary of lists ({"motors": [...]}) or nothing
    if isinstance(names, Mapping):
        names = [name for group in names.values() for name in (group if isinstance(group, list) else [group])]
    return tuple(str(name) for name in names) if names else ()


def _floats(values: NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
