"""The arm's side of a control step for many worlds: from the action to the command of every physics step.

`ActionSpace.command` and `MotionLimiter.follow` define it and run on the robot. This gives the same from compiled
loops, without NumPy's cost per call and temporary arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn import action_space, motion
from robolearn.action_space import ActionSpace, EndEffectorDelta, JointDelta
from robolearn.rotations import matrix_from_quat
from robolearn.sim.arm_kernel import (
    ACCELERATION,
    FREE,
    HOME,
    JOINTS,
    KEEP_DOWN,
    LOWER,
    UPPER,
    VELOCITY,
    Arm,
    Settings,
    control,
)

Array = NDArray[np.float64]


class ArmControl:
    """Commands of a control step for `num_worlds` arms; those of a world depend on that world alone.

    The first call on a machine compiles, which takes some seconds; later processes load the machine code.
    """

    def __init__(self, mapping: ActionSpace, *, decimation: int, num_worlds: int) -> None:
        """Prepare for actions of `mapping`, with `decimation` physics steps per control step."""
        self._arm, self._settings = _arm(mapping), _settings(mapping, decimation)
        self._command = (num_worlds, mapping.robot.n_joints + 1)
        self._action = (num_worlds, *mapping.feature.shape)
        self._path = (num_worlds, decimation, mapping.robot.n_joints + 1)
        self._worlds = (num_worlds,)

    def path(
        self,
        sent: Array,
        velocity: Array,
        measured: Array,
        action: Array,
        *,
        speed_up: Array | None = None,
        joint_slack: Array | None = None,
    ) -> tuple[Array, Array]:
        """Commands of the next control step.

        Args:
            sent: the last command sent [num_worlds, n_joints + 1]; rad, the gripper width in m.
            velocity: its velocity, likewise.
            measured: measured joints and width, likewise.
            action: [num_worlds, action_dim], clipped to the bounds.
            speed_up: factor [num_worlds] of at least 1 on the limits of joint velocity, joint acceleration and
                gripper speed and on the leash, for simulation only; None is 1.
            joint_slack: rad [num_worlds], at least 0, that joints may go beyond their limits, for simulation only;
                None is 0.

        Returns:
            Commands [num_worlds, decimation, n_joints + 1] and the velocity [num_worlds, n_joints + 1] of the last.

        Raises:
            ValueError: an array has another shape, or `speed_up` or `joint_slack` is too small.
        """
        path, last = np.empty(self._path), np.empty(self._command)
        control(
            self._arm,
            self._settings,
            _copy("sent", sent, self._command),
            _copy("velocity", velocity, self._command),
            _copy("measured", measured, self._command),
            _copy("action", action, self._action),
            _at_least(1.0, "speed_up", speed_up, self._worlds),
            _at_least(0.0, "joint_slack", joint_slack, self._worlds),
            path,
            last,
        )
        return path, last


def _at_least(least: float, name: str, values: Array | None, shape: tuple[int, ...]) -> Array:
    if values is None:
        return np.full(shape, least)
    found = _copy(name, values, shape)
    if not (found >= least).all():
        raise ValueError(f"{name} must be at least {least:g} in every world")
    return found


def _copy(name: str, values: Array, shape: tuple[int, ...]) -> Array:
    # the loops do not check their indices; strided or read-only arrays would each be compiled anew
    if np.shape(values) != shape:
        raise ValueError(f"{name} has shape {np.shape(values)}, expected {shape}")
    return np.array(values, np.float64, order="C")


def _arm(mapping: ActionSpace) -> Arm:
    robot, feature = mapping.robot, mapping.feature
    rows = {
        LOWER: (*robot.lower, 0.0),
        UPPER: (*robot.upper, robot.gripper_width),
        VELOCITY: (*robot.max_velocity, robot.gripper_speed),
        ACCELERATION: (*robot.max_acceleration, np.inf),
        HOME: (*robot.home, robot.gripper_width),
    }
    return Arm(
        limits=np.array([rows[row] for row in sorted(rows)]),
        pos=np.array((*robot.chain.pos, robot.chain.tool_pos)),
        rot=matrix_from_quat(np.array((*robot.chain.quat, robot.chain.tool_quat))),
        workspace=np.array(robot.workspace),
        down=np.array(action_space.DOWN),
        bounds=np.array((feature.low, feature.high)),
    )


def _settings(mapping: ActionSpace, decimation: int) -> Settings:
    return Settings(
        kind=_kind(mapping),
        dt=mapping.dt,
        short_dt=mapping.dt / decimation,
        damping=action_space.DAMPING,
        posture_gain=action_space.posture_gain(mapping.robot.n_joints),
        linear_step=action_space.MAX_LINEAR_STEP,
        angular_step=action_space.MAX_ANGULAR_STEP,
        leash=action_space.LEASH,
        tiny=motion.TINY,
    )


def _kind(mapping: ActionSpace) -> int:
    if isinstance(mapping, JointDelta):
        return JOINTS
    if isinstance(mapping, EndEffectorDelta):
        return FREE if mapping.free_rotation else KEEP_DOWN
    raise TypeError(f"no compiled loop for action space {type(mapping).__name__}")
