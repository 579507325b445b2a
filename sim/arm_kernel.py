"""Compiled loops over worlds from actions to the commands of a control step; `robolearn.sim.control` is their face.

One file, because numba keeps machine code on disk until the file of the called function changes. The functions share
few, larger arrays and write into them: views, tuples of arrays and new arrays would cost more than the sums.
"""

from __future__ import annotations

from math import cos, inf, sin, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.jit import jit

Array = NDArray[np.float64]

JOINTS, KEEP_DOWN, FREE = 0, 1, 2  # what an action's components before the last mean
LOWER, UPPER, VELOCITY, ACCELERATION, HOME = 0, 1, 2, 3, 4  # rows of `Arm.limits`
GOAL, RATE, POSITION, SPEED, WANTED = 0, 1, 2, 3, 4  # rows of the joints in hand


class Arm(NamedTuple):
    """Arrays of a robot with n joints.

    Attributes:
        limits: row per kind [5, n + 1], rad and s; the last column is the gripper's, m and s.
        pos, rot: fixed transforms of the chain [n + 1, 3], [n + 1, 3, 3]; the last is the tool's.
        workspace: corners [2, 3] of what the tool centre point may reach, m.
        down: where the tool's z axis points when the gripper points down [3].
        bounds: of the action [2, action_dim].
    """

    limits: Array
    pos: Array
    rot: Array
    workspace: Array
    down: Array
    bounds: Array


class Settings(NamedTuple):
    """Numbers of an action space and its motion.

    Attributes:
        kind: JOINTS, KEEP_DOWN or FREE.
        dt, short_dt: control step and physics step in s.
        damping, posture_gain, linear_step, angular_step, leash: constants of `robolearn.action_space`.
        tiny: constant of `robolearn.motion`.
    """

    kind: int
    dt: float
    short_dt: float
    damping: float
    posture_gain: float
    linear_step: float
    angular_step: float
    leash: float
    tiny: float


@jit
def control(
    arm: Arm,
    settings: Settings,
    sent: Array,
    velocity: Array,
    measured: Array,
    action: Array,
    speed_up: Array,
    slack: Array,
    path: Array,
    last: Array,
) -> None:
    """Write commands `path` and the last velocity `last`; arguments as of `robolearn.sim.control.ArmControl.path`."""
    limits, pos, rot, workspace, down, bounds = arm
    n = len(pos) - 1
    joints, jacobian = np.empty((5, n + 1)), np.empty((6, n))
    frame, tool, twist, gram = np.empty((3, 3)), np.empty(3), np.empty(6), np.empty((6, 6))
    wish = np.empty(bounds.shape[1])
    for w in range(len(sent)):
        for k in range(len(wish)):
            wish[k] = _clip(action[w, k], bounds[0, k], bounds[1, k])
        if settings.kind == JOINTS:
            for j in range(n):
                joints[GOAL, j] = sent[w, j] + wish[j]
        else:
            _kinematics(pos, rot, sent, w, frame, tool, jacobian)
            _twist(settings, workspace, down, wish, frame, tool, twist)
            _damped_least_squares(settings, limits, sent, w, jacobian, twist, gram, joints)
        joints[GOAL, n] = wish[-1]
        _limit(settings, limits, sent, measured, speed_up[w], slack[w], w, joints)
        _follow(settings, limits, sent, velocity, speed_up[w], slack[w], w, joints, path, last)


@jit
def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@jit
def _kinematics(pos: Array, rot: Array, sent: Array, w: int, frame: Array, tool: Array, jacobian: Array) -> None:
    """`Chain.forward` and `Kinematics.jacobian`: orientation `frame`, position `tool` and Jacobian of the tool."""
    n = len(pos) - 1
    for r in range(3):
        tool[r] = 0.0
        for k in range(3):
            frame[r, k] = 1.0 if r == k else 0.0
    for i in range(n + 1):
        c, s = (cos(sent[w, i]), sin(sent[w, i])) if i < n else (1.0, 0.0)
        for r in range(3):
            fx, fy, fz = frame[r, 0], frame[r, 1], frame[r, 2]
            tool[r] += fx * pos[i, 0] + fy * pos[i, 1] + fz * pos[i, 2]
            x = fx * rot[i, 0, 0] + fy * rot[i, 1, 0] + fz * rot[i, 2, 0]
            y = fx * rot[i, 0, 1] + fy * rot[i, 1, 1] + fz * rot[i, 2, 1]
            z = fx * rot[i, 0, 2] + fy * rot[i, 1, 2] + fz * rot[i, 2, 2]
            # a turn about the local z axis mixes the first two columns
            frame[r, 0], frame[r, 1], frame[r, 2] = c * x + s * y, c * y - s * x, z
            if i < n:
                jacobian[r, i], jacobian[3 + r, i] = tool[r], z  # the joint's origin for now, and its axis
    for i in range(n):
        x, y, z = tool[0] - jacobian[0, i], tool[1] - jacobian[1, i], tool[2] - jacobian[2, i]
        ax, ay, az = jacobian[3, i], jacobian[4, i], jacobian[5, i]
        jacobian[0, i], jacobian[1, i], jacobian[2, i] = ay * z - az * y, az * x - ax * z, ax * y - ay * x


@jit
def _twist(
    settings: Settings, workspace: Array, down: Array, wish: Array, frame: Array, tool: Array, twist: Array
) -> None:
    """Displacement `twist` of the tool that an action wishes for, within workspace and step."""
    for r in range(3):
        linear = _clip(tool[r] + wish[r], workspace[0, r], workspace[1, r]) - tool[r]
        twist[r] = _clip(linear, -settings.linear_step, settings.linear_step)
        if settings.kind == FREE:
            twist[3 + r] = wish[3 + r]
        else:
            s, t = (r + 1) % 3, (r + 2) % 3
            turn = frame[s, 2] * down[t] - frame[t, 2] * down[s]
            if r == 2:
                turn += wish[3]
            twist[3 + r] = _clip(turn, -settings.angular_step, settings.angular_step)


@jit
def _damped_least_squares(
    settings: Settings,
    limits: Array,
    sent: Array,
    w: int,
    jacobian: Array,
    twist: Array,
    gram: Array,
    joints: Array,
) -> None:
    """`action_space.damped_least_squares`, added to the last command: the goal. Uses up `twist` and `gram`."""
    n = jacobian.shape[1]
    for r in range(6):
        for k in range(r + 1):
            total = settings.damping * settings.damping if r == k else 0.0
            for j in range(n):
                total += jacobian[r, j] * jacobian[k, j]
            gram[r, k] = total
    for j in range(n):
        pull = settings.posture_gain * (limits[HOME, j] - sent[w, j])
        joints[GOAL, j] = sent[w, j] + pull
        for r in range(6):
            twist[r] -= jacobian[r, j] * pull
    _solve(gram, twist)
    for j in range(n):
        for r in range(6):
            joints[GOAL, j] += jacobian[r, j] * twist[r]


@jit
def _solve(matrix: Array, vector: Array) -> None:
    """Solve a symmetric positive definite system in place by Cholesky's factor; only the lower triangle is read."""
    n = len(vector)
    for r in range(n):
        for k in range(r + 1):
            total = matrix[r, k]
            for m in range(k):
                total -= matrix[r, m] * matrix[k, m]
            matrix[r, k] = sqrt(total) if r == k else total / matrix[k, k]
        for m in range(r):
            vector[r] -= matrix[r, m] * vector[m]
        vector[r] /= matrix[r, r]
    for r in range(n - 1, -1, -1):
        for m in range(r + 1, n):
            vector[r] -= matrix[m, r] * vector[m]
        vector[r] /= matrix[r, r]


@jit
def _limit(
    settings: Settings,
    limits: Array,
    sent: Array,
    measured: Array,
    speed_up: float,
    slack: float,
    w: int,
    joints: Array,
) -> None:
    """`action_space.limit_command` of the goal."""
    n = joints.shape[1] - 1
    leash = settings.leash * speed_up
    for j in range(n):
        reach = limits[VELOCITY, j] * speed_up * settings.dt
        goal = _clip(joints[GOAL, j], sent[w, j] - reach, sent[w, j] + reach)
        goal = _clip(goal, measured[w, j] - leash, measured[w, j] + leash)
        joints[GOAL, j] = _clip(goal, limits[LOWER, j] - slack, limits[UPPER, j] + slack)
    joints[GOAL, n] = _clip(joints[GOAL, n], limits[LOWER, n], limits[UPPER, n])


@jit
def _follow(
    settings: Settings,
    limits: Array,
    sent: Array,
    velocity: Array,
    speed_up: float,
    slack: float,
    w: int,
    joints: Array,
    path: Array,
    last: Array,
) -> None:
    """`MotionLimiter.follow` to the goal."""
    steps, n, dt = path.shape[1], path.shape[2] - 1, settings.short_dt
    grip = limits[VELOCITY, n] * speed_up * dt
    for j in range(n):
        joints[RATE, j] = (joints[GOAL, j] - sent[w, j]) / (steps * dt)
    for j in range(n + 1):
        joints[POSITION, j], joints[SPEED, j] = sent[w, j], velocity[w, j]
    for k in range(steps):
        _short_step(settings, limits, sent, w, (k + 1) * dt, speed_up, slack, joints)
        before = joints[POSITION, n]
        after = before + _clip(joints[GOAL, n] - before, -grip, grip)
        joints[POSITION, n] = _clip(after, limits[LOWER, n], limits[UPPER, n])
        joints[SPEED, n] = (joints[POSITION, n] - before) / dt
        for j in range(n + 1):
            path[w, k, j] = joints[POSITION, j]
    for j in range(n + 1):
        last[w, j] = joints[SPEED, j]


@jit
def _short_step(
    settings: Settings,
    limits: Array,
    sent: Array,
    w: int,
    time: float,
    speed_up: float,
    slack: float,
    joints: Array,
) -> None:
    """`MotionLimiter.step` of the joints towards where the straight way is at `time`."""
    n, dt = joints.shape[1] - 1, settings.short_dt
    squared = inf
    for j in range(n):
        way = (sent[w, j] + joints[RATE, j] * time) - joints[POSITION, j] - joints[RATE, j] * dt
        squared = min(squared, limits[ACCELERATION, j] * speed_up / max(abs(way), settings.tiny))
        joints[WANTED, j] = way
    closing = min(sqrt(squared), 1 / dt)
    excess = 1.0
    for j in range(n):
        joints[WANTED, j] = joints[RATE, j] + joints[WANTED, j] * closing
        excess = max(excess, abs(joints[WANTED, j]) / (limits[VELOCITY, j] * speed_up))
    jump = 1.0
    for j in range(n):
        joints[WANTED, j] = joints[WANTED, j] / excess - joints[SPEED, j]
        jump = max(jump, abs(joints[WANTED, j]) / (limits[ACCELERATION, j] * speed_up * dt))
    for j in range(n):
        before = joints[POSITION, j]
        after = before + (joints[SPEED, j] + joints[WANTED, j] / jump) * dt
        joints[POSITION, j] = _clip(after, limits[LOWER, j] - slack, limits[UPPER, j] + slack)
        joints[SPEED, j] = (joints[POSITION, j] - before) / dt
