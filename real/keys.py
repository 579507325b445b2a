"""Keys as a tool's velocity and the gripper's opening, for a terminal that says nothing when a key is let go.

A terminal repeats a key that is held, after a pause. So a key counts for a moment after it came; in the pause the arm
stands still in the person's hands, and it is handed back when no key has come for longer than that.
"""

from __future__ import annotations

import numpy as np

from robolearn.real.joystick import AXES, Wish

MOVES: dict[str, tuple[str, float]] = {
    "w": ("x", 1.0),
    "s": ("x", -1.0),
    "a": ("y", 1.0),
    "d": ("y", -1.0),
    "r": ("z", 1.0),
    "f": ("z", -1.0),
    "u": ("rx", 1.0),
    "o": ("rx", -1.0),
    "i": ("ry", 1.0),
    "k": ("ry", -1.0),
    "j": ("rz", 1.0),
    "l": ("rz", -1.0),
}
GRIPPER = {"c": 0.0, "v": 1.0}  # opening
STILL = " "  # takes over without moving
HELP = (
    "w/s forwards, back   a/d left, right   r/f up, down   j/l turn   u/o, i/k tilt\n"
    "c/v close, open      space hold still  q end          (base frame; keys act while they are held)"
)
MOMENT = 0.12  # s for which a key counts: longer than between two repetitions
PAUSE = 0.7  # s of control without a key: longer than before the first repetition


class Keys:
    """What the keys of the last moment mean."""

    def __init__(self, *, speed: float, turn: float) -> None:
        """Move at `speed` m/s and turn at `turn` rad/s."""
        self._speed, self._turn = speed, turn
        self._pressed: dict[str, float] = {}  # when a key came last, s
        self._last: float | None = None
        self._opening: float | None = None

    def press(self, key: str, now: float) -> None:
        """A key came at `now`, s; those without a meaning count for nothing."""
        key = key.lower()
        if key in GRIPPER:
            self._opening = GRIPPER[key]
        elif key in MOVES:
            self._pressed[key] = now
        elif key != STILL:
            return
        self._last = now

    def wish(self, now: float) -> Wish | None:
        """What the person wants at `now`, s; None where the arm is not in the person's hands."""
        if self._last is None or now - self._last > PAUSE:
            self._last = self._opening = None
            return None
        twist = np.zeros(len(AXES))
        for key, when in self._pressed.items():
            axis, sign = MOVES[key]
            if now - when <= MOMENT:
                twist[AXES.index(axis)] += sign * (self._speed if axis in AXES[:3] else self._turn)
        return Wish(twist, self._opening)
