"""Commands to an arm's controller in the formats that ROS 2's controllers take.

Each writer turns joint positions [n_joints] in rad and the gripper's width in m, one message per control period, into
its format. Positions come from the safety filter, which ends every motion at rest: so the last message of a stop says
standstill in each format. Velocities are those between two positions, with which the filter made them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import TwistStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robolearn.real.ros2.wiring import Wiring
from robolearn.robot import RobotSpec

Array = NDArray[np.float64]
Build = Callable[..., Any]  # from position and velocity [n_joints] in rad and rad/s to a message without a stamp
SHORTEST = 1e-6  # s between a trajectory's points: its times are whole nanoseconds, and must increase
RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)  # position controllers subscribe reliably


class Writer(Protocol):
    """Publishes commands.

    Attributes:
        publishers: of all topics that nobody else may publish on.
    """

    publishers: tuple[Any, ...]

    def send(self, position: Array) -> None:
        """Send joint positions in rad, then the gripper's width in m [n_joints + 1]."""


def make_writer(node: Node, *, robot: RobotSpec, wiring: Wiring, period: float) -> Writer:
    """Return the writer of a wiring; `period` is the time in s between commands."""
    if wiring.output == "commands":
        return Commands(node, robot=robot, wiring=wiring)
    return Motion(node, *MOTIONS[wiring.output], robot=robot, wiring=wiring, period=period)


class Commands:
    """Float64MultiArray of positions, for forward_command_controller."""

    def __init__(self, node: Node, *, robot: RobotSpec, wiring: Wiring) -> None:
        """Advertise."""
        self._arm = node.create_publisher(Float64MultiArray, wiring.command_topic, RELIABLE)
        self._gripper = GripperWriter(node, robot, wiring) if wiring.gripper_topic else None
        self.publishers: tuple[Any, ...] = (self._arm,)
        if self._gripper is not None:
            self.publishers += (self._gripper.publisher,)

    def send(self, position: Array) -> None:
        """See `Writer.send`."""
        if self._gripper is not None:
            self._gripper.send(position[-1])
            position = position[:-1]
        self._arm.publish(Float64MultiArray(data=_doubles(position)))


class GripperWriter:
    """Float64MultiArray of one number: the width in m, or what the gripper's driver takes for it."""

    def __init__(self, node: Node, robot: RobotSpec, wiring: Wiring) -> None:
        """Advertise."""
        self._robot, self._wiring = robot, wiring
        self.publisher = node.create_publisher(Float64MultiArray, wiring.gripper_topic, RELIABLE)

    def send(self, width: float) -> None:
        """Send a width in m."""
        self.publisher.publish(Float64MultiArray(data=[self._wiring.gripper_position(float(width), self._robot)]))


class Differences:
    """Velocities [n] between positions that are `period` s apart.

    Where motion begins, at first or after a standstill, the first one is 0: between two motions an arm may have been
    moved, and commands begin anew where it is.
    """

    def __init__(self, period: float) -> None:
        """Start at rest."""
        self._period = period
        self._last: Array | None = None
        self._rest = False

    def __call__(self, position: Array) -> Array:
        """Velocity [n] at the newest position [n]."""
        way = np.zeros_like(position) if self._last is None else position - self._last
        begins, self._rest = self._rest, self._last is not None and not way.any()
        self._last = position.copy()
        return np.zeros_like(way) if begins else way / self._period


class Motion:
    """Messages made of position and velocity; the gripper's width goes to a topic of its own."""

    def __init__(
        self, node: Node, kind: Any, build: Build, stamped: bool, *, robot: RobotSpec, wiring: Wiring, period: float
    ) -> None:
        """Advertise messages of a `kind`, which `build` makes, and which are `stamped` with the time of sending."""
        self._stamped = stamped
        self._node, self._build = node, partial(build, robot=robot, wiring=wiring, period=period)
        self._velocity = Differences(period)
        self._arm = node.create_publisher(kind, wiring.command_topic, RELIABLE)
        self._gripper = GripperWriter(node, robot, wiring)
        self.publishers: tuple[Any, ...] = (self._arm, self._gripper.publisher)

    def send(self, position: Array) -> None:
        """See `Writer.send`."""
        joints = position[:-1]
        message = self._build(joints, self._velocity(joints))
        if self._stamped:
            message.header.stamp = self._node.get_clock().now().to_msg()
        self._arm.publish(message)
        self._gripper.send(position[-1])


def joint_state(position: Array, velocity: Array, *, robot: RobotSpec, wiring: Wiring, period: float) -> JointState:
    """Positions and velocities, for controllers that follow a joint target (crisp_controllers)."""
    return JointState(name=wiring.arm_joints(robot), position=_doubles(position), velocity=_doubles(velocity))


def joint_trajectory(
    position: Array, velocity: Array, *, robot: RobotSpec, wiring: Wiring, period: float
) -> JointTrajectory:
    """A trajectory that ends at rest, for joint_trajectory_controller.

    The first point is where the arm shall be at the end of this control period, with its velocity, so that the
    controller does not slow down between messages. The second is where it would come to rest from there: each
    message is a whole motion, which the controller can bring to its end by itself if no other follows. All joints
    brake together, none faster than its acceleration limit. At rest there is one point.

    The stamp stays 0, which means from now on: the controller refuses a trajectory that would have ended when it
    arrives, and one at rest lasts no longer than a period.
    """
    points = [_point(period, position, velocity)]
    if velocity.any():
        braking = max(SHORTEST, float((np.abs(velocity) / robot.max_acceleration).max()))
        # together some brake longer than they must; who begins outside its limits gets no further out
        lower, upper = np.minimum(robot.lower, position), np.maximum(robot.upper, position)
        rest = np.clip(position + velocity * braking / 2.0, lower, upper)
        points.append(_point(period + braking, rest, np.zeros_like(velocity)))
    return JointTrajectory(joint_names=wiring.arm_joints(robot), points=points)


def twist(position: Array, velocity: Array, *, robot: RobotSpec, wiring: Wiring, period: float) -> TwistStamped:
    """Velocity of the tool centre point in the base frame, m/s and rad/s, for MoveIt Servo: J(q) dq/dt."""
    message = TwistStamped()
    message.header.frame_id = wiring.base_frame
    linear, angular = message.twist.linear, message.twist.angular
    values = robot.chain.forward(position).jacobian() @ velocity
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = map(float, values)
    return message


MOTIONS: dict[str, tuple[Any, Build, bool]] = {
    "joint_trajectory": (JointTrajectory, joint_trajectory, False),
    "joint_state": (JointState, joint_state, True),
    "twist": (TwistStamped, twist, True),
}


def _point(after: float, position: Array, velocity: Array) -> JointTrajectoryPoint:
    seconds, nanoseconds = divmod(round(after * 1e9), 10**9)
    due = Duration(sec=seconds, nanosec=nanoseconds)
    return JointTrajectoryPoint(positions=_doubles(position), velocities=_doubles(velocity), time_from_start=due)


def _doubles(values: Array) -> array[float]:
    # rclpy copies an array.array a hundred times faster than a list
    return array("d", np.ascontiguousarray(values).tobytes())
