"""Schema, ActionChunk, Progress: the plain data that every part of the stack passes on.

A Schema is LeRobot's `features` dictionary with role, unit and bounds added. Simulator, dataset,
checkpoint, bundle and controller carry the same object and never rename a key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

ROLES = ("observation", "action", "privileged", "annotation")

# LeRobot writes these columns itself; they are no channels.
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")


class SchemaError(ValueError):
    """A channel is missing, extra, reordered or of another shape; the message names it."""


@dataclass(frozen=True)
class Feature:
    """One channel.

    Attributes:
        dtype: NumPy dtype name, or "image" / "video".
        shape: shape of one frame, without batch and time.
        names: name of each component (one-dimensional channels) or of each axis (images).
        unit: unit of each component, e.g. "rad", "m", "1" (dimensionless); one for each name.
        role: one of `ROLES`; privileged channels exist in simulation only, annotations are labels.
        low: lower bound of each component, or None where unbounded. Actions must have bounds.
        high: upper bound, likewise.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    unit: tuple[str, ...]
    role: str
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise SchemaError(f"role '{self.role}' is none of {', '.join(ROLES)}")
        if len(self.unit) != len(self.names):
            raise SchemaError(f"{len(self.names)} names but {len(self.unit)} units: {self.names}")
        if len(self.shape) == 1 and len(self.names) != self.shape[0]:
            raise SchemaError(f"shape {self.shape} but {len(self.names)} names: {self.names}")
        for bound in (self.low, self.high):
            if bound is not None and len(bound) != len(self.names):
                raise SchemaError(f"{len(self.names)} names but {len(bound)} bounds: {self.names}")

    @property
    def is_picture(self) -> bool:
        """Whether it holds RGB pictures."""
        return self.dtype in ("image", "video")

    @property
    def array_dtype(self) -> np.dtype[Any]:
        """Type of its arrays: uint8 for pictures."""
        return np.dtype("uint8" if self.is_picture else self.dtype)


@dataclass(frozen=True)
class Schema:
    """Ordered channels and the control rate in Hz (`fps`)."""

    features: dict[str, Feature]
    fps: int

    def __iter__(self) -> Iterator[str]:
        return iter(self.features)

    def __getitem__(self, key: str) -> Feature:
        return self.features[key]

    def with_role(self, *roles: str) -> dict[str, Feature]:
        """Return the channels of these roles, in order."""
        return {key: feature for key, feature in self.features.items() if feature.role in roles}

    def select(self, keys: Iterable[str]) -> Schema:
        """Return a schema of these channels only, in this schema's order."""
        wanted = set(keys)
        return replace(self, features={k: f for k, f in self.features.items() if k in wanted})

    @property
    def action(self) -> Feature:
        """The deployable action channel."""
        return self.features["action"]

    @property
    def observation_keys(self) -> tuple[str, ...]:
        """Names of the channels that a deployable policy may read."""
        return tuple(self.with_role("observation"))

    def validate(self, frame: Mapping[str, Any], *, lead: int = 0) -> None:
        """Check that a frame has exactly these channels with these shapes.

        Args:
            frame: arrays by channel name.
            lead: number of leading axes (batch, time) before the channel's own shape.

        Raises:
            SchemaError: naming the missing, extra or misshapen channel.
        """
        _compare_keys(list(self.features), list(frame))
        for key, feature in self.features.items():
            shape = np.shape(frame[key])[lead:]
            if shape != feature.shape:
                raise SchemaError(f"channel '{key}' has shape {shape}, the schema says {feature.shape}")

    def require_same(self, other: Schema, *, what: str = "the other side") -> None:
        """Check that another schema has the same channels, components, units and order.

        Raises:
            SchemaError: naming the first channel, and its component, that differs.
        """
        _compare_keys(list(self.features), list(other.features), what=what)
        for key, mine in self.features.items():
            theirs = other.features[key]
            for field in ("dtype", "shape", "names", "unit"):
                a, b = getattr(mine, field), getattr(theirs, field)
                if a != b:
                    raise SchemaError(f"channel '{key}': {field} is {_difference(a, b)} on {what}")
        if self.fps != other.fps:
            raise SchemaError(f"fps is {self.fps}, but {other.fps} on {what}")

    def to_lerobot(self) -> dict[str, dict[str, Any]]:
        """Return LeRobot's `features` dictionary (dtype, shape, names)."""
        return {
            key: {"dtype": f.dtype, "shape": list(f.shape), "names": list(f.names)} for key, f in self.features.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; `from_dict` reads it back."""
        return {
            "fps": self.fps,
            "features": {k: asdict(f) for k, f in self.features.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        features = {key: Feature(**_with_tuples(fields)) for key, fields in data["features"].items()}
        return cls(features=features, fps=int(data["fps"]))

    def save(self, path: Path) -> None:
        """Write `schema.json`."""
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `schema.json`."""
        return cls.from_dict(json.loads(path.read_text()))


def _compare_keys(expected: list[str], found: list[str], *, what: str = "the frame") -> None:
    if missing := [key for key in expected if key not in found]:
        raise SchemaError(f"channel '{missing[0]}' is missing on {what}")
    if extra := [key for key in found if key not in expected]:
        raise SchemaError(f"channel '{extra[0]}' on {what} is not in the schema")
    if expected != found:
        first = next(a for a, b in zip(expected, found, strict=True) if a != b)
        raise SchemaError(f"channel '{first}' is in another place on {what}: order {found}")


def _with_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}


def _difference(a: Any, b: Any) -> str:
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        i = next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
        return f"'{a[i]}' at place {i}, but '{b[i]}'"
    return f"{a}, but {b}"


@dataclass(frozen=True)
class ActionChunk:
    """Consecutive actions that a policy predicts in one go.

    Attributes:
        values: [..., horizon, action_dim] in physical units.
        t0: time in seconds at which the first action applies.
        dt: seconds between actions.
        n_valid: [...] how many of the first actions the policy stands by; None means its `n_action_steps`.
    """

    values: NDArray[np.float32]
    t0: float
    dt: float
    n_valid: NDArray[np.integer] | None = None

    @property
    def horizon(self) -> int:
        """Number of actions."""
        return self.values.shape[-2]


@dataclass(frozen=True)
class Progress:
    """Output of a causal progress estimator.

    Attributes:
        stage: index of the current stage.
        value: progress of the whole task in [0, 1].
        success: probability of success in [0, 1].
    """

    stage: int
    value: float
    success: float
