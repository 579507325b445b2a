"""Contact by what is felt: joint efforts or a wrench beyond thresholds for longer than a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.safety_settings import SafetySettings

Array = NDArray[np.float64]
MISSING = 0.5  # s without a sample: a check without data is none


class Feels(Protocol):
    """What has the data; `robolearn.real.ros2.robot_io.RosRobot` for one."""

    @property
    def effort(self) -> tuple[Array, float] | None:
        """Efforts of the arm's joints [n] in N m and their age in s; None where there are none."""

    @property
    def wrench(self) -> tuple[Array, float] | None:
        """Force in N and torque in N m [6] and their age in s; None where there are none."""


class Feeling:
    """One kind of values, against limits."""

    def __init__(self, what: str, unit: str, names: Sequence[str], limits: Array) -> None:
        """Watch values [n] called `names` with `limits` [n] >= 0 in `unit`."""
        self._what, self._unit, self._names, self._limits = what, unit, tuple(names), limits
        self._since: float | None = None  # beyond a limit
        self._seen = -np.inf  # the last sample's time

    def alarm(self, sample: tuple[Array, float] | None, now: float, *, duration: float) -> str:
        """Why the arm must stop at `now`, after `duration` s beyond the limits; "" if it need not.

        A sample is values [n] and their age in s; what is not a number is beyond every limit.
        """
        if sample is None or not sample[1] <= MISSING:
            return f"no {self._what} comes, for which a limit is set: let the driver publish it, or set none"
        values, age = np.abs(sample[0]), sample[1]
        beyond = ~(values <= self._limits)
        if not beyond.any():
            self._since = None
            return ""
        made = now - age
        if self._since is None or made - self._seen > MISSING:  # nobody looked in between
            self._since = made
        self._seen = made
        if made - self._since < duration:
            return ""
        worst = int(np.flatnonzero(beyond)[0])
        told = f"{self._names[worst]} is {values[worst]:.1f} {self._unit} (allowed {self._limits[worst]:g})"
        return f"contact: {told} for {made - self._since:.2f} s"


class ContactStop:
    """Efforts of the joints and a wrench, as far as there are limits for them."""

    def __init__(self, safety: SafetySettings, robot: Feels | None, *, joint_names: Sequence[str]) -> None:
        """Watch what there are limits for; `robot` is None where nothing is felt.

        Raises:
            UserError: the number of limits is not that of the joints.
        """
        self._duration, self._robot = safety.contact_time, robot
        self._efforts: Feeling | None = None
        self._wrench: Feeling | None = None
        if (count := len(safety.effort_limits)) > 0:
            if count not in (1, len(joint_names)):
                raise UserError(
                    f"{count} effort_limits for {len(joint_names)} joints: give one for each, or one for all"
                )
            limits = np.broadcast_to(np.array(safety.effort_limits), len(joint_names))
            names = [f"the effort of joint '{name}'" for name in joint_names]
            self._efforts = Feeling("joint effort", "N m", names, limits)
        if np.isfinite((safety.force_limit, safety.torque_limit)).any():
            limits = np.array((safety.force_limit, safety.torque_limit))
            self._wrench = Feeling("wrench", "N or N m", ("the measured force", "the measured torque"), limits)

    def alarm(self, now: float) -> str:
        """Why the arm must stop at `now`, monotonic, s; "" if it need not."""
        effort, wrench = (None, None) if self._robot is None else (self._robot.effort, self._robot.wrench)
        reason = ""
        if self._efforts is not None:
            reason = self._efforts.alarm(effort, now, duration=self._duration)
        if self._wrench is not None and not reason:
            reason = self._wrench.alarm(_lengths(wrench), now, duration=self._duration)
        return reason


def _lengths(wrench: tuple[Array, float] | None) -> tuple[Array, float] | None:
    """Lengths of force and torque, and their age."""
    return None if wrench is None else (np.linalg.norm(wrench[0].reshape(2, 3), axis=1), wrench[1])
