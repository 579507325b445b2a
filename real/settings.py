"""Rates and time limits of the control loop."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from robolearn.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Rates and time limits.

    Attributes:
        rate: control periods per second.
        stale_after: age in s of an observation at which the arm holds.
        chunk_timeout: s that the newest answer's control step may be behind; then the arm holds.
        deadline: s after the begin of a control step until which its answer is still used for that step.
        seed: of the first activation's noise; later ones count up.
        ramp: s after a start or a hold over which the arm gathers way; see `robolearn.real.starting.eased`.
        camera_stale_after: age in s of a picture, or of the state of a gripper with a driver of its own, at which the
            arm holds; `stale_after` where that is longer.
    """

    rate: float = 250.0
    stale_after: float = 0.05
    chunk_timeout: float = 0.5
    deadline: float = 0.02
    seed: int = 0
    ramp: float = 0.0
    camera_stale_after: float = 0.2

    def __post_init__(self) -> None:
        for name in ("rate", "stale_after", "chunk_timeout", "deadline", "camera_stale_after"):
            value = getattr(self, name)
            if not (value > 0 and isfinite(value)):
                raise UserError(f"{name} must be positive and finite, not {value}")
        if not (self.ramp >= 0 and isfinite(self.ramp)):
            raise UserError(f"ramp must be finite and not negative, not {self.ramp}")
