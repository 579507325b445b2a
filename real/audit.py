"""An independent look at the commands that reach an arm: did any ever leave the limits?

On purpose it shares no code with the safety filter that it judges. It sees what a driver sees: messages, and when they
came. A message may come late or be lost, so between two of them one control period or several may lie; where the times
leave that open, a change is a violation only if it is one either way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.robot import RobotSpec

Array = NDArray[np.float64]
Speed = tuple[Array, int]
SILENCE = 0.25  # s without a command: what follows begins anew, at the measured pose
APART = 0.05  # rad or m that a first command may be from where the arm is
ROUNDING = 1e-6  # rad or m
UNSURE = 0.6  # periods that a time may be from a whole number of them
KINDS = ("finite", "position", "velocity", "acceleration", "start")


@dataclass
class Findings:
    """What was seen.

    Attributes:
        commands: how many.
        segments: times that commands began.
        violations: how many, by kind.
        worst: how far beyond, by kind: of a limit of 1 rad/s a velocity of 1.5 is 1.5; the start's is in rad or m.
        first_violation: what it was, or None.
        last_command: when it came, s.
    """

    commands: int = 0
    segments: int = 0
    violations: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    worst: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    first_violation: str | None = None
    last_command: float | None = None

    @property
    def total(self) -> int:
        """Violations of all kinds."""
        return sum(self.violations.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**vars(self), "total": self.total}


@dataclass(frozen=True)
class Recording:
    """What reached an arm.

    Attributes:
        times: when each command came [n], s.
        commands: [n, n_joints + 1].
        measured: where the joints were last known to be then [n, n_joints]; NaN where that was unknown.
    """

    times: Array
    commands: Array
    measured: Array


def audit(robot: RobotSpec, recording: Recording, *, rate: float) -> Findings:
    """Judge commands that came `rate` times per second by the limits of `robot`."""
    findings = Findings(commands=len(recording.times))
    if findings.commands:
        findings.last_command = float(recording.times[-1])
        begins = np.flatnonzero(np.diff(recording.times, prepend=-np.inf) > SILENCE)
        findings.segments = len(begins)
        judge = _Judge(robot, 1.0 / rate, findings)
        for begin, end in zip(begins, (*begins[1:], findings.commands), strict=True):
            judge.segment(recording, int(begin), int(end))
    return findings


class _Judge:
    def __init__(self, robot: RobotSpec, period: float, findings: Findings) -> None:
        self._findings, self._period, self._n = findings, period, robot.n_joints
        self._lower, self._upper = np.array((*robot.lower, 0.0)), np.array((*robot.upper, robot.gripper_width))
        self._velocity = np.array((*robot.max_velocity, robot.gripper_speed))
        self._acceleration = np.array(robot.max_acceleration)
        self._at = 0  # number of the command that is judged

    def segment(self, recording: Recording, begin: int, end: int) -> None:
        """Judge commands that follow each other without a silence."""
        commands, sent = recording.commands[begin:end], self._sent(recording.times[begin:end])
        self._at = begin
        if not self._finite(commands[0]):
            return
        apart = np.abs(commands[0, : self._n] - recording.measured[begin]).max()
        if np.isfinite(apart):
            self._check("start", float(apart), APART)
        speeds: list[Speed] | None = None  # with each number of periods that is possible
        for i in range(1, len(commands)):
            self._at = begin + i
            if not self._finite(commands[i]):
                return
            self._position(commands[i], commands[i - 1])
            change, periods = commands[i] - commands[i - 1], self._periods(sent[i] - sent[i - 1])
            speeds = self._rates([(change / (k * self._period), k) for k in periods], speeds)

    def _sent(self, times: Array) -> Array:
        """When commands can have been sent at the latest: each a period before the next, however late it came."""
        grid = np.arange(len(times)) * self._period
        return np.minimum.accumulate((times - grid)[::-1])[::-1] + grid

    def _periods(self, between: float) -> list[int]:
        count = between / self._period
        return [k for k in (int(count), int(count) + 1) if k >= 1 and abs(count - k) <= UNSURE] or [1]

    def _finite(self, command: Array) -> bool:
        if np.isfinite(command).all():
            return True
        self._violated("finite", np.inf)
        return False

    def _position(self, command: Array, before: Array) -> None:
        # what began outside may come in
        outside = np.maximum(self._lower - command, command - self._upper)
        allowed = np.maximum(np.maximum(self._lower - before, before - self._upper), 0.0)
        self._check("position", float((outside - allowed).max()), ROUNDING)

    def _rates(self, speeds: list[Speed], before: list[Speed] | None) -> list[Speed]:
        slack = ROUNDING / self._period
        self._check("velocity", min(_share(v, self._velocity, slack) for v, _ in speeds), 1.0)
        if before is None:  # the first command has moved already
            most = np.append(self._acceleration * self._period, self._velocity[-1])
            before = [(np.clip(v, -most, most), 1) for v, _ in speeds]
        between = [((v - w)[: self._n] / (self._period * (k + m) / 2)) for v, k in speeds for w, m in before]
        self._check("acceleration", min(_share(a, self._acceleration, slack / self._period) for a in between), 1.0)
        return speeds

    def _check(self, kind: str, value: float, limit: float) -> None:
        worst = self._findings.worst
        worst[kind] = max(worst[kind], value)
        if value > limit:
            self._violated(kind, value)

    def _violated(self, kind: str, value: float) -> None:
        self._findings.violations[kind] += 1
        self._findings.worst[kind] = max(self._findings.worst[kind], value)
        if self._findings.first_violation is None:
            self._findings.first_violation = f"{kind} {value:.4g} at command {self._at}"


def _share(values: Array, limits: Array, slack: float) -> float:
    return float((np.maximum(np.abs(values) - slack, 0.0) / limits).max())
