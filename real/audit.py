"""An independent look at the commands that reach an arm: did any ever leave the limits?

On purpose it shares no code with the safety filter that it judges. It sees what a driver sees: messages, and when they
came. A message may come late or be lost, and a control loop may stand still, so between two of them one control period
or several may lie; where the times leave that open, a change is a violation only if it is one either way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.robot import RobotSpec

Array = NDArray[np.float64]
Speed = tuple[Array, int]
SILENCE = 10  # periods without a command: what follows begins anew, at the measured pose
APART = 0.05  # rad that a first command may be from where the arm is
SAGGED = 0.01  # rad that a command after a rest may be from there
LAG = 0.01  # rad that it may have moved between what the node and the observer saw
SHARE = 0.5  # of its distance from the command before
ROUNDING = 1e-6  # rad or m
UNSURE = 0.6  # periods that a time may be from a whole number of them
MARGIN = 0.05  # m that the tool may be outside the workspace
KINDS = ("finite", "position", "velocity", "acceleration", "jerk", "box", "start")


@dataclass
class Findings:
    """What was seen.

    Attributes:
        commands: how many.
        segments: times that commands began.
        violations: how many, by kind.
        worst: the largest value by kind: share of the limit of a velocity, an acceleration or a jerk, rad of a start,
            rad or m of a position beyond its end, m of the tool beyond its box.
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


def audit(robot: RobotSpec, recording: Recording, *, rate: float, margin: float = MARGIN) -> Findings:
    """Judge commands, `rate` per second, by the limits of `robot` and its workspace widened by `margin` m."""
    findings = Findings(commands=len(recording.times))
    if findings.commands:
        findings.last_command = float(recording.times[-1])
        sent = _sent(recording.times, 1.0 / rate)
        begins = np.flatnonzero(np.diff(sent, prepend=-np.inf) > SILENCE / rate)
        findings.segments = len(begins)
        judge = _Judge(robot, 1.0 / rate, _beyond(robot, recording.commands, margin), findings)
        for begin, end in zip(begins, (*begins[1:], findings.commands), strict=True):
            judge.segment(recording, sent, int(begin), int(end))
    return findings


def _sent(times: Array, period: float) -> Array:
    """When commands can have been sent at the latest: each a period before the next, however late it came."""
    grid = np.arange(len(times)) * period
    return np.minimum.accumulate((times - grid)[::-1])[::-1] + grid


def _beyond(robot: RobotSpec, commands: Array, margin: float) -> Array:
    """How far in m the tool is outside its box at each command, 0 inside."""
    low, high = np.array(robot.workspace)
    tool = robot.chain.forward(np.nan_to_num(commands[:, : robot.n_joints])).tool_pos
    return np.maximum(low - margin - tool, tool - high - margin).max(axis=1).clip(min=0.0)


class _Judge:
    def __init__(self, robot: RobotSpec, period: float, beyond: Array, findings: Findings) -> None:
        self._findings, self._period, self._n = findings, period, robot.n_joints
        self._beyond = beyond
        self._lower, self._upper = np.array((*robot.lower, 0.0)), np.array((*robot.upper, robot.gripper_width))
        self._velocity = np.array((*robot.max_velocity, robot.gripper_speed))
        self._acceleration, self._jerk = np.array(robot.max_acceleration), np.array(robot.jerk_limits)
        self._at = 0  # number of the command that is judged

    def segment(self, recording: Recording, sent: Array, begin: int, end: int) -> None:
        """Judge commands that follow each other without a silence."""
        last: int | None = None  # number of the command before
        resting = begin > 0 and np.array_equal(recording.commands[begin], recording.commands[begin - 1])
        earlier: list[list[Speed]] = []  # speeds of the last two changes
        for i in range(begin, end):
            self._at, command = i, recording.commands[i]
            if not np.isfinite(command).all():
                self._violated("finite", np.inf)
                continue
            apart = float(np.abs(command[: self._n] - recording.measured[i]).max())
            if last is None:
                if np.isfinite(apart):
                    self._first(recording, i)
            else:
                before = recording.commands[last]
                self._position(command, last, before)
                now = self._speeds(command - before, sent[i] - sent[last])
                shares = self._shares(now, earlier)
                # from rest a new motion may begin where the arm has sagged to: there rather than at the last command
                sagged = apart <= min(SAGGED, SHARE * float(np.abs(command - before).max()))
                if anew := resting and sagged and max(shares.values()) > 1.0:
                    self._findings.segments += 1
                else:
                    for kind, share in shares.items():
                        self._check(kind, share, 1.0)
                resting, earlier = np.array_equal(command, before), [] if anew else [*earlier[-1:], now]
            last = i

    def _first(self, recording: Recording, i: int) -> None:
        """Judge where commands begin: at the arm, or near the last command while it may be on its way there."""
        command, measured = recording.commands[i], recording.measured[i]
        arm = np.append(measured, np.clip(command[-1], self._lower[-1], self._upper[-1]))  # its width is not known
        apart = float(np.abs(command - arm)[:-1].max())
        going_on = i > 0 and float(np.abs(command - recording.commands[i - 1])[:-1].max()) <= SAGGED
        if not going_on:
            self._check("start", apart, APART if i == 0 else SAGGED + LAG)
        self._check("position", self._further_out(command, arm), SAGGED)

    def _speeds(self, change: Array, between: float) -> list[Speed]:
        """Speeds of a change, each with its number of periods: one, as an arm goes on, or those of the time."""
        count = between / self._period
        periods = {1} | {k for k in (int(count), int(count) + 1) if k >= 1 and abs(count - k) <= UNSURE}
        return [(change / (k * self._period), k) for k in sorted(periods)]

    def _position(self, command: Array, last: int, before: Array) -> None:
        self._check("position", self._further_out(command, before), ROUNDING)
        self._check("box", float(self._beyond[self._at] - self._beyond[last]), ROUNDING)

    def _further_out(self, command: Array, before: Array) -> float:
        """How much further in rad or m a command is beyond an end than `before`: what began outside may come in."""
        outside = np.maximum(self._lower - command, command - self._upper)
        allowed = np.maximum(np.maximum(self._lower - before, before - self._upper), 0.0)
        return float((outside - allowed).max())

    def _shares(self, now: list[Speed], earlier: list[list[Speed]]) -> dict[str, float]:
        """Of its limit that each derivative reaches, with those numbers of periods that make it least."""
        if earlier:
            before = earlier[-1]
        else:  # the first command has moved already
            most = np.append(self._acceleration * self._period, self._velocity[-1])
            before = [(np.clip(v, -most, most), 1) for v, _ in now]
        return {
            "velocity": min(_share(v, self._velocity, ROUNDING / self._period) for v, _ in now),
            "acceleration": min(
                _share(self._between(a, b), self._acceleration, ROUNDING / self._period**2)
                for a, b in product(now, before)
            ),
            "jerk": self._jerk_share(now, *reversed(earlier)) if len(earlier) == 2 else 0.0,
        }

    def _between(self, late: Speed, soon: Speed) -> Array:
        """The joints' acceleration between two changes."""
        return (late[0] - soon[0])[: self._n] / (self._period * (late[1] + soon[1]) / 2)

    def _jerk_share(self, now: list[Speed], before: list[Speed], first: list[Speed]) -> float:
        # divided differences: where a message was lost they are means of the jerk, never more than its largest value
        return min(
            _share(
                (self._between(a, b) - self._between(b, c)) / (self._period * (a[1] + b[1] + c[1]) / 3),
                self._jerk,
                ROUNDING / self._period**3,
            )
            for a, b, c in product(now, before, first)
        )

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
