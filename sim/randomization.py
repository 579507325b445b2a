"""Domain randomisation: the ranges from which every episode of every world draws its own physics, sensors and looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf, isfinite, pi
from typing import Any, NamedTuple, Self

from robolearn.errors import UserError, nearest

Range = Sequence[float]


class Limits(NamedTuple):
    """What a range may hold: values from `low` (beyond it where `open`) to `high`, whole numbers where `whole`."""

    low: float
    high: float = inf
    open: bool = False
    whole: bool = False


FACTOR = Limits(0.0, open=True)
LIMITS = {
    "mass": FACTOR,
    "size": FACTOR,
    "friction": FACTOR,
    "joint_damping": Limits(0.0),
    "actuator_gain": FACTOR,
    "latency": Limits(0, whole=True),
    "joint_noise": Limits(0.0),
    "position_noise": Limits(0.0),
    "rotation_noise": Limits(0.0),
    "colour": Limits(0.0, 1.0),
    "camera_shift": Limits(-inf),
    "camera_turn": Limits(-pi, pi),
    "light": Limits(0.0),
    "light_tilt": Limits(0.0, pi / 2),
}


@dataclass(frozen=True, kw_only=True)
class Randomization:
    """Ranges [low, high], drawn from uniformly at the start of an episode; None leaves a thing as it is.

    Attributes:
        mass: factor on mass and inertia of each free object.
        size: factor on the lengths of each free object; its mass stays.
        friction: factor on the friction of all surfaces, one for the world.
        joint_damping: factor on the passive damping of each joint of the robot.
        actuator_gain: factor on stiffness and damping of each of the robot's servos.
        latency: control steps by which actions come late, a whole number.
        joint_noise: standard deviation of the measured joint angles, rad; the tool's pose follows from them.
        position_noise: standard deviation of the measured positions of objects, per axis, m.
        rotation_noise: standard deviation of their measured orientations, about each axis, rad.
        colour: red, green and blue in [0, 1] of bodies whose colour means nothing.
        camera_shift: displacement of the cameras along each of their own axes, m.
        camera_turn: turn of the cameras about each of their own axes, rad.
        light: factor on the strength of the light.
        light_tilt: angle by which the lamp stands elsewhere, in any direction, rad.
    """

    mass: Range | None = None
    size: Range | None = None
    friction: Range | None = None
    joint_damping: Range | None = None
    actuator_gain: Range | None = None
    latency: Range | None = None
    joint_noise: Range | None = None
    position_noise: Range | None = None
    rotation_noise: Range | None = None
    colour: Range | None = None
    camera_shift: Range | None = None
    camera_turn: Range | None = None
    light: Range | None = None
    light_tilt: Range | None = None

    def __post_init__(self) -> None:
        for name, value in self.active.items():
            _check(name, value, LIMITS[name])

    @classmethod
    def from_dict(cls, ranges: Mapping[str, Range | None]) -> Self:
        """Ranges by name.

        Raises:
            UserError: an unknown name or an impossible range.
        """
        for name in ranges:
            if name not in LIMITS:
                raise UserError(f"unknown randomization '{name}'{nearest(name, LIMITS)}")
        return cls(**ranges)

    @property
    def active(self) -> dict[str, Range]:
        """The ranges that are given, by name."""
        values = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def _check(name: str, value: Any, limits: Limits) -> None:
    said = f"randomization.{name}={value}"
    try:
        low, high = value
        numbers = isfinite(low) and isfinite(high)
    except (TypeError, ValueError):
        numbers = False
    if not numbers:
        raise UserError(f"{said} is no range: give two numbers [low, high]")
    if low > high:
        raise UserError(f"{said} is an impossible range: {low:g} is above {high:g}; give [low, high]")
    if low < limits.low or (limits.open and low == limits.low):
        raise UserError(
            f"{said} is impossible: give numbers {'above' if limits.open else 'of at least'} {limits.low:g}"
        )
    if high > limits.high:
        raise UserError(f"{said} is impossible: give numbers of at most {limits.high:g}")
    if limits.whole and not (float(low).is_integer() and float(high).is_integer()):
        raise UserError(f"{said} is impossible: it counts control steps, give whole numbers")
