"""A joystick's axes and buttons as a tool's velocity and the gripper's opening."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest

AXES = ("x", "y", "z", "rx", "ry", "rz")  # of a twist
BUTTONS = ("deadman", "open", "close")
DEAD_ZONE = 0.05  # of an axis at rest


class Wish(NamedTuple):
    """What a person wants.

    Attributes:
        twist: of the tool [6], m/s and rad/s in the base frame.
        opening: of the gripper, 0 closed to 1 open, or None: as it is.
    """

    twist: NDArray[np.float64]
    opening: float | None = None


@dataclass(frozen=True, kw_only=True)
class Joystick:
    """Which axis moves what; it counts while the dead-man button is held.

    Attributes:
        axes: place of the axis and sign for each of `AXES` that is used.
        buttons: place of each of `BUTTONS` that is used, the dead-man button among them.
        speed: m/s at full deflection.
        turn: rad/s at full deflection.
    """

    axes: dict[str, tuple[int, float]]
    buttons: dict[str, int]
    speed: float
    turn: float

    @classmethod
    def of(cls, axes: str, buttons: str, *, speed: float, turn: float) -> Joystick:
        """Read e.g. axes "x=1,y=0,z=4,rz=-3" and buttons "deadman=4,open=1,close=0"; a minus turns an axis round.

        Raises:
            UserError: a name is unknown, a place is no number, or there is no dead-man button.
        """
        pressed = {name: place for name, (place, _) in _places(buttons, BUTTONS, "joy_buttons").items()}
        if "deadman" not in pressed:
            raise UserError("a joystick needs a dead-man button: give joy_buttons=deadman=NUMBER,...")
        return cls(axes=_places(axes, AXES, "joy_axes"), buttons=pressed, speed=speed, turn=turn)

    def wish(self, axes: Sequence[float], buttons: Sequence[int]) -> Wish | None:
        """What a message says; None while the dead-man button is not held, or if the joystick lacks a part."""
        if not self._held(buttons, "deadman") or any(place >= len(axes) for place, _ in self.axes.values()):
            return None
        twist = np.zeros(len(AXES))
        for name, (place, sign) in self.axes.items():
            scale = self.speed if name in AXES[:3] else self.turn
            deflection = float(axes[place])
            twist[AXES.index(name)] = sign * scale * deflection * (abs(deflection) > DEAD_ZONE)
        if not np.isfinite(twist).all():
            return None
        opening = 0.0 if self._held(buttons, "close") else 1.0 if self._held(buttons, "open") else None
        return Wish(twist, opening)

    def _held(self, buttons: Sequence[int], name: str) -> bool:
        place = self.buttons.get(name)
        return place is not None and place < len(buttons) and bool(buttons[place])


def _places(text: str, valid: Sequence[str], option: str) -> dict[str, tuple[int, float]]:
    places = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"(\w+)=(-?)(\d+)", part)
        if match is None:
            raise UserError(f"{option}: '{part}' is not like {valid[0]}=0: give name=NUMBER, separated by commas")
        if match[1] not in valid:
            raise UserError(f"{option}: '{match[1]}' is unknown{nearest(match[1], valid)}")
        places[match[1]] = int(match[3]), -1.0 if match[2] else 1.0
    return places
