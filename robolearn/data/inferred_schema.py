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
AXES = ("height", "width", "channels")
ENCODED = ("image", "video")


def infer_schema(features: Mapping[str, Mapping[str, Any]], *, fps: int) -> Schema:
    """Return the schema of the numeric channels with one axis and of the pictures, in the dataset's order.

    Pictures have the shape [height, width, channels], whatever order the dataset claims: LeRobot decodes them alike.

    Raises:
        UserError: there is no such channel called `action`.
    """
    channels = {
        key: _feature(key, feature)
        for key, feature in features.items()
        if key not in BOOKKEEPING and (_is_vector(feature) or _is_picture(feature))
    }
    if "action" not in channels or len(channels["action"].shape) != 1:
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
    if _is_picture(feature):
        unit = "1" if feature["dtype"] in ENCODED else UNKNOWN_UNIT
        return Feature(str(feature["dtype"]), _picture_shape(feature), AXES, (unit,) * 3, _role(key))
    width = int(feature["shape"][0])
    names = _names(feature.get("names"))
    if len(names) != width:
        names = tuple(f"{key.rsplit('.', 1)[-1]}_{i}" for i in range(width))
    return Feature(str(feature["dtype"]), (width,), names, (UNKNOWN_UNIT,) * width, _role(key))


def _is_vector(feature: Mapping[str, Any]) -> bool:
    return len(feature["shape"]) == 1 and _is_number(feature["dtype"])


def _is_picture(feature: Mapping[str, Any]) -> bool:
    return len(feature["shape"]) == 3 and (feature["dtype"] in ENCODED or _is_number(feature["dtype"]))


def _is_number(dtype: str) -> bool:
    return dtype not in (*ENCODED, "string", "language") and np.dtype(dtype).kind in "biuf"


def _picture_shape(feature: Mapping[str, Any]) -> tuple[int, int, int]:
    first, second, third = (int(n) for n in feature["shape"])
    if feature["dtype"] in ENCODED and first in (1, 3) and third not in (1, 3):
        return second, third, first
    return first, second, third


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
