"""Faults of an arm's driver, for as long as they are asked for: what a controller must survive.

They are put in where the driver publishes and listens, so that the controller sees what it would see of a broken one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
JUMP = 10.0  # rad
LATER = 3600.0  # s
PUSH = 1e4  # N m


@dataclass(frozen=True)
class Joints:
    """One message of joint states.

    Attributes:
        names: of the joints.
        position, velocity, effort: of each, in rad, rad/s and N m.
        stamp: when they were measured, s.
    """

    names: Sequence[str]
    position: Array
    velocity: Array
    effort: Array
    stamp: float


KINDS = {
    "silent": "no joint states",
    "frozen": "the same joint states again and again, stamp included",
    "stuck": "the same joint positions again and again, with new stamps",
    "nan": "a joint position that is not a number",
    "swapped": "the names of the first two joints exchanged",
    "jump": f"the first joint {JUMP:g} rad from where it is",
    "clock": f"stamps {LATER:g} s ahead",
    "push": f"an effort of {PUSH:g} N m at the first joint",
    "blind": "no pictures",
    "lost": "no object poses",
    "deaf": "commands are not obeyed",
}


class Faults:
    """The fault that is in force, if any."""

    def __init__(self) -> None:
        """Begin without."""
        self._kind: str | None = None
        self._until = -math.inf
        self._first: Joints | None = None

    def begin(self, text: str, now: float) -> None:
        """Begin what a message asks for at `now`: {"kind": one of `KINDS`, "seconds": how long}; 0 s ends it.

        Raises:
            ValueError: it is no such message.
        """
        asked = json.loads(text)
        try:
            kind, seconds = str(asked["kind"]), float(asked["seconds"])
        except (KeyError, TypeError) as error:
            raise ValueError(f'a fault is {{"kind": ..., "seconds": ...}}, not {text}') from error
        if kind not in KINDS:
            raise ValueError(f"no fault '{kind}': there are {', '.join(KINDS)}")
        self._kind, self._until, self._first = kind, now + seconds, None

    def active(self, now: float) -> str | None:
        """Kind of the fault in force."""
        return self._kind if now < self._until else None

    def joints(self, joints: Joints, now: float) -> Joints | None:
        """What is published in place of `joints`; None for nothing."""
        kind = self.active(now)
        if kind is None:
            return joints
        if self._first is None:
            self._first = joints
        first = self._first
        match kind:
            case "silent":
                return None
            case "frozen":
                return first
            case "stuck":
                return replace(joints, position=first.position, velocity=first.velocity)
            case "nan":
                return replace(joints, position=_changed(joints.position, math.nan))
            case "swapped":
                a, b, *rest = joints.names
                return replace(joints, names=[b, a, *rest])
            case "jump":
                return replace(joints, position=_changed(joints.position, joints.position[0] + JUMP))
            case "clock":
                return replace(joints, stamp=joints.stamp + LATER)
            case "push":
                return replace(joints, effort=_changed(joints.effort, PUSH))
        return joints


def _changed(values: Array, first: float) -> Array:
    changed = values.copy()
    changed[0] = first
    return changed
