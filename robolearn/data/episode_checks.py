"""Refuse what a dataset cannot hold, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.data import layout
from robolearn.data.episode_rows import RESERVED, SCALAR_TYPES, Scalar
from robolearn.data.video import require_encodable
from robolearn.errors import UserError
from robolearn.schema import Feature, Schema

_WRITTEN = "image, bool, int8 to int64, uint8 to uint64, float32, float64"
_MOST_AXES = 5  # of LeRobot's arrays


def require_writable(schema: Schema, *, video: bool) -> None:
    """Check that all channels can be written.

    Raises:
        UserError: a name, dtype or shape that LeRobot cannot read, or pictures that make no video.
    """
    for key, feature in schema.features.items():
        if "/" in key:
            raise UserError(f"channel '{key}' has a slash in its name, which LeRobot does not take: rename it")
        if feature.dtype in layout.PICTURE_TYPES:
            _require_rgb(key, feature)
            if video:
                require_encodable(key, feature)
        else:
            _require_numbers(key, feature)


def checked_channels(
    frames: Mapping[str, NDArray[Any]], schema: Schema, *, episode: int
) -> dict[str, NDArray[np.generic]]:
    """Return an episode's channels in the dtypes of the schema.

    Args:
        frames: [T, *shape] by channel, as the user gave them.
        schema: the channels wanted.
        episode: its number, for messages.

    Raises:
        SchemaError: a channel is missing, extra or misshapen.
        UserError: no frames, another dtype, or a value that is not finite.
    """
    schema.validate(frames, lead=1)
    lengths = {key: len(values) for key, values in frames.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise UserError(f"episode {episode}: every channel needs the same number of frames, at least 1: {lengths}")
    channels = {key: _cast(key, frames[key], feature, episode) for key, feature in schema.features.items()}
    for key, values in channels.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UserError(f"channel '{key}' of episode {episode} holds NaN or infinity: find its source")
    return channels


def checked_stages(
    stage: NDArray[np.integer] | None, names: Sequence[str], *, length: int, episode: int
) -> NDArray[np.int64] | None:
    """Return the stage labels [T] of an episode; None where the dataset has no stages.

    Raises:
        UserError: labels are missing, not wanted, misshapen or out of range.
    """
    if (stage is None) == bool(names):
        wanted = "needs" if names else "cannot take"
        raise UserError(f"episode {episode} {wanted} stage labels: the dataset's stages are {tuple(names)}")
    if stage is None:
        return None
    labels = np.asarray(stage)
    if labels.ndim != 1 or labels.min(initial=0) < 0 or labels.max(initial=0) > len(names):
        raise UserError(f"episode {episode}: stage labels must be [T] in 0..{len(names)}")
    if len(labels) != length:
        raise UserError(f"episode {episode} has {len(labels)} stage labels, but another number of frames: {length}")
    return labels.astype(np.int64)


def require_scalars(extra: Mapping[str, Scalar], kinds: Mapping[str, type] | None) -> None:
    """Check an episode's own scalars.

    Args:
        extra: as the user gave them.
        kinds: names and types in the dataset so far; None before the first episode.

    Raises:
        UserError: a type that cannot be written, a reserved name, or other scalars than before.
    """
    found = {key: type(value) for key, value in extra.items()}
    if bad := [key for key, kind in found.items() if kind not in SCALAR_TYPES]:
        raise UserError(f"episode scalar '{bad[0]}' is {found[bad[0]].__name__}; give bool, int, float or str")
    if clash := [key for key in extra if key in RESERVED or "/" in key]:
        raise UserError(f"episode scalar '{clash[0]}' is the name of one of LeRobot's columns: rename it")
    if kinds is not None and found != kinds:
        raise UserError(f"episode scalars differ within the dataset: {found} here, {kinds} before")


def _require_rgb(key: str, feature: Feature) -> None:
    if len(feature.shape) != 3 or feature.shape[-1] != 3:
        raise UserError(
            f"channel '{key}' is {feature.dtype} of shape {feature.shape}; pictures are RGB of shape "
            "(height, width, 3): give other pictures a dtype of numbers"
        )


def _require_numbers(key: str, feature: Feature) -> None:
    if feature.dtype == "float16" or np.dtype(feature.dtype).kind not in "biuf":
        raise UserError(f"channel '{key}' is {feature.dtype}; datasets are written with channels of {_WRITTEN}")
    if not 1 <= len(feature.shape) <= _MOST_AXES:
        raise UserError(f"channel '{key}' has shape {feature.shape}; channels have one to {_MOST_AXES} axes")


def _cast(key: str, values: NDArray[Any], feature: Feature, episode: int) -> NDArray[np.generic]:
    array = np.asarray(values)
    if feature.dtype not in layout.PICTURE_TYPES:
        return np.ascontiguousarray(array.astype(feature.dtype, casting="same_kind", copy=False))
    if array.dtype != np.uint8:
        raise UserError(f"channel '{key}' of episode {episode} has pictures of {array.dtype}: give uint8")
    return np.ascontiguousarray(array)
