"""From a policy's action to joint positions: the one definition that simulator and controller share.

An action space turns (reference, measured, action) into the joint position command of the next control
step. The reference is the last position sent, never the measured pose: a measured pose lags and jitters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.robot import RobotSpec
from robolearn.schema import Feature

Array = NDArray[np.float64]

DAMPING = 0.05  # of the damped least squares, in m/rad: bounds joint motion near singularities
POSTURE_GAIN = 0.05  # pull towards home in the null space, per control step
LEASH = 0.25  # rad that a command may run ahead of the measured joint: no wind-up against an obstacle
MAX_LINEAR_STEP = 0.02  # m per control step (0.4 m/s at 20 Hz)
MAX_ANGULAR_STEP = 0.10  # rad per control step (2 rad/s at 20 Hz)
DOWN = np.array((0.0, 0.0, -1.0))


class ActionSpace(Protocol):
    """Maps actions to commands [..., n_joints + 1]: joint positions in rad, then the gripper width in m."""

    @property
    def robot(self) -> RobotSpec:
        """The arm whose limits hold."""

    @property
    def dt(self) -> float:
        """Control step in s."""

    @property
    def feature(self) -> Feature:
        """The `action` channel, bounds included."""

    def command(self, reference: Array, measured: Array, action: Array) -> Array:
        """Command for the next control step.

        Args:
            reference: the last position sent [..., n_joints + 1].
            measured: the measured joint positions and width, same shape.
            action: [..., action_dim], clipped to the bounds.
        """


@dataclass(frozen=True)
class EndEffectorDelta:
    """Displacement of the tool per control step plus the gripper width.

    With `free_rotation` the action is (dx, dy, dz, rx, ry, rz, width); without it the gripper keeps
    pointing down and the action is (dx, dy, dz, yaw, width). Base frame, m and rad.
    """

    robot: RobotSpec
    dt: float
    free_rotation: bool = False

    @cached_property  # asked for at every control step
    def feature(self) -> Feature:
        """The `action` channel, bounds included."""
        turns = ("rx", "ry", "rz") if self.free_rotation else ("yaw",)
        high = (MAX_LINEAR_STEP,) * 3 + (MAX_ANGULAR_STEP,) * len(turns)
        return _delta_feature(self.robot, ("dx", "dy", "dz", *turns), ("m",) * 3 + ("rad",) * len(turns), high)

    def command(self, reference: Array, measured: Array, action: Array) -> Array:
        """See `ActionSpace.command`. One damped-least-squares step, solved at the reference."""
        feature = self.feature
        action = np.clip(action, feature.low, feature.high)
        q = reference[..., :-1]
        here = self.robot.chain.forward(q)
        low, high = self.robot.workspace
        linear = np.clip(here.tool_pos + action[..., :3], low, high) - here.tool_pos
        linear = np.clip(linear, -MAX_LINEAR_STEP, MAX_LINEAR_STEP)
        angular = action[..., 3:-1] if self.free_rotation else self._keep_down(here.tool_rot, action[..., 3])
        step = damped_least_squares(
            here.jacobian(),
            np.concatenate((linear, angular), axis=-1),
            np.array(self.robot.home) - q,
        )
        return limit_command(self.robot, reference, measured, q + step, action[..., -1], self.dt)

    @staticmethod
    def _keep_down(tool_rot: Array, yaw: Array) -> Array:
        # cross of the tool's z axis and "down" turns the one onto the other; yaw is about the vertical
        turn = np.cross(tool_rot[..., 2], np.broadcast_to(DOWN, tool_rot.shape[:-1]))
        turn[..., 2] += yaw
        return np.clip(turn, -MAX_ANGULAR_STEP, MAX_ANGULAR_STEP)


@dataclass(frozen=True)
class JointDelta:
    """Change of each joint per control step in rad, plus the gripper width in m."""

    robot: RobotSpec
    dt: float

    @cached_property  # asked for at every control step
    def feature(self) -> Feature:
        """The `action` channel, bounds included."""
        n = self.robot.n_joints
        names = tuple(f"d_{name}" for name in self.robot.joint_names)
        return _delta_feature(self.robot, names, ("rad",) * n, (MAX_ANGULAR_STEP,) * n)

    def command(self, reference: Array, measured: Array, action: Array) -> Array:
        """See `ActionSpace.command`."""
        feature = self.feature
        action = np.clip(action, feature.low, feature.high)
        goal = reference[..., :-1] + action[..., :-1]
        return limit_command(self.robot, reference, measured, goal, action[..., -1], self.dt)


def _delta_feature(robot: RobotSpec, names: tuple[str, ...], unit: tuple[str, ...], high: tuple[float, ...]) -> Feature:
    """Changes within +-high, then the gripper width."""
    return Feature(
        dtype="float32",
        shape=(len(names) + 1,),
        names=(*names, "gripper_width"),
        unit=(*unit, "m"),
        role="action",
        low=(*(-h for h in high), 0.0),
        high=(*high, robot.gripper_width),
    )


def still(feature: Feature, width: float) -> NDArray[np.float32]:
    """Return the action that moves nothing [action_dim]: each space has changes, then the gripper's width in m."""
    action = np.zeros(feature.shape, np.float32)
    action[-1] = width
    return np.clip(action, feature.low, feature.high).astype(np.float32)


def posture_gain(n_joints: int) -> float:
    """Gain of the pull towards home: an arm of six joints or fewer has no null space, so it would only disturb."""
    return POSTURE_GAIN if n_joints > 6 else 0.0


def damped_least_squares(jacobian: Array, twist: Array, posture: Array) -> Array:
    """Joint step of a tool displacement: J^T (J J^T + d^2 I)^-1 twist + null-space pull (Wampler, 1986).

    Args:
        jacobian: [..., 6, n].
        twist: wanted displacement of the tool [..., 6], m and rad.
        posture: direction of the null-space motion [..., n] in rad.
    """
    transposed = jacobian.swapaxes(-1, -2)
    gram = jacobian @ transposed + DAMPING**2 * np.eye(6)
    pull = posture_gain(jacobian.shape[-1]) * posture
    rest = twist - (jacobian @ pull[..., None])[..., 0]
    return pull + (transposed @ np.linalg.solve(gram, rest[..., None]))[..., 0]


def limit_command(
    robot: RobotSpec,
    reference: Array,
    measured: Array,
    goal: Array,
    width: Array,
    dt: float,
) -> Array:
    """Keep a command within joint limits, joint and gripper speed, and near the measured joints.

    Args:
        robot: whose limits.
        reference: the last position sent [..., n_joints + 1].
        measured: measured joints and width [..., n_joints + 1].
        goal: wanted joint positions [..., n_joints].
        width: wanted gripper width [...].
        dt: control step in s.
    """
    before = reference[..., :-1]
    reach = np.array(robot.max_velocity) * dt
    goal = np.clip(goal, before - reach, before + reach)
    goal = np.clip(goal, measured[..., :-1] - LEASH, measured[..., :-1] + LEASH)
    goal = np.clip(goal, robot.lower, robot.upper)
    grip = np.clip(width, 0.0, robot.gripper_width)
    return np.concatenate((goal, grip[..., None]), axis=-1)


ACTION_SPACES = ("ee_delta", "ee_delta_6d", "joint_delta")


def make_action_space(name: str, *, robot: RobotSpec, dt: float) -> ActionSpace:
    """Return the action space of this name (`ACTION_SPACES`); `dt` is the control step in s."""
    if name not in ACTION_SPACES:
        raise UserError(f"unknown action space '{name}'{nearest(name, ACTION_SPACES)}")
    if name == "joint_delta":
        return JointDelta(robot, dt)
    return EndEffectorDelta(robot, dt, free_rotation=name == "ee_delta_6d")
