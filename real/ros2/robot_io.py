"""A robot behind ROS 2 topics as `robolearn.real.interfaces.Robot`."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from robolearn.proprioception import objects_of, pose_vector, proprioception
from robolearn.real.newest import Newest
from robolearn.real.offer import POSES, STATE, pose_topic
from robolearn.robot import RobotSpec
from robolearn.schema import Schema

Array = NDArray[np.float64]
JOINT_STATES, COMMANDS = "/joint_states", "~/commands"
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # an old sensor message is of no use
RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)  # position controllers subscribe reliably
RIVAL = "another node publishes commands to this arm: end it first"
RIVAL_PERIOD = 0.2  # s between two looks for one
UNIT = 0.05  # that the length of an orientation's quaternion may differ from 1


class RosRobot:
    """Reads `/joint_states` and `/objects/<name>/pose`, writes `~/commands`.

    A message that lacks a joint, as those of a gripper's own driver do, or that holds something that is not a finite
    number or no orientation, counts as not received: what was received before grows old, and the arm holds.
    """

    def __init__(self, node: Node, *, schema: Schema, robot: RobotSpec) -> None:
        """Subscribe and advertise for the channels of `schema` on `node`."""
        self.schema, self._robot, self._node = schema, robot, node
        self._objects = objects_of(schema[POSES]) if POSES in schema.features else ()
        self._joints: Newest[Array] = Newest()
        self._poses: tuple[Newest[Array], ...] = tuple(Newest() for _ in self._objects)
        self._wanted = (*robot.joint_names, *robot.gripper_joints)
        self._names: list[str] = []
        self._at: list[int] | None = None
        self._publisher = node.create_publisher(Float64MultiArray, COMMANDS, RELIABLE)
        node.create_subscription(JointState, JOINT_STATES, self._on_joints, NEWEST)
        for name, newest in zip(self._objects, self._poses, strict=True):
            node.create_subscription(PoseStamped, pose_topic(name), _pose_callback(newest), NEWEST)

    def age(self) -> float | None:
        """Seconds since the oldest part of the newest observation was made, or None before the first.

        By its stamp, where the clocks agree, else since it was received.
        """
        now = time.monotonic()
        ages = [newest.age(now) for newest in (self._joints, *self._poses)]
        known = [age for age in ages if age is not None]
        return max(known) if len(known) == len(ages) else None

    def read(self) -> tuple[dict[str, NDArray[Any]], float] | None:
        """Newest observation and its `age` in s."""
        age, joints = self.age(), self._joints.value
        if age is None or joints is None:
            return None
        n = self._robot.n_joints
        observation = {STATE: proprioception(self._robot, joints[:n], joints[n:].sum())}
        if self._poses:
            parts = [newest.value for newest in self._poses]
            observation[POSES] = np.concatenate([part for part in parts if part is not None]).astype(np.float32)
        return observation, age

    def write(self, position: NDArray[np.float64]) -> None:
        """Publish joint positions [n_joints] in rad, then the gripper width in m."""
        # rclpy copies an array.array a hundred times faster than a list
        self._publisher.publish(Float64MultiArray(data=array("d", position.tobytes())))

    @property
    def rivals(self) -> int:
        """Other publishers of the command topic: two would fight for the arm."""
        return self._node.count_publishers(self._publisher.topic_name) - 1

    def watch_rivals(self, found: Callable[[], object]) -> None:
        """Call `found` again and again while there are any."""

        def look() -> None:
            if self.rivals > 0:
                found()

        self._node.create_timer(RIVAL_PERIOD, look)

    def _on_joints(self, message: JointState) -> None:
        at = self._indices(message.name)
        if at is None or len(message.position) != len(message.name):
            return
        position = np.array(message.position)[at]
        if np.isfinite(position).all():
            _keep(self._joints, position, message)

    def _indices(self, names: Sequence[str]) -> list[int] | None:
        """Where the joints are in a message with these names; None if one is missing."""
        if names != self._names:
            whole = set(self._wanted) <= set(names)
            self._at = [names.index(name) for name in self._wanted] if whole else None
            self._names = list(names)
        return self._at


def _pose_callback(newest: Newest[Array]) -> Callable[[PoseStamped], None]:
    def on_pose(message: PoseStamped) -> None:
        if (pose := pose_of(message)) is not None:
            _keep(newest, pose, message)

    return on_pose


def _keep(newest: Newest[Array], value: Array, message: Any) -> None:
    stamp = message.header.stamp
    made = stamp.sec + stamp.nanosec * 1e-9
    newest.take(value, stamp=made, received=time.monotonic(), wall=time.time())


def pose_of(message: PoseStamped) -> Array | None:
    """The channel's part [9] of a pose message; None if it is no pose."""
    p, q = message.pose.position, message.pose.orientation
    position, orientation = np.array((p.x, p.y, p.z)), np.array((q.w, q.x, q.y, q.z))
    length = np.linalg.norm(orientation)
    if not np.isfinite(position).all() or not abs(length - 1.0) <= UNIT:  # also if it is not a number
        return None
    return pose_vector(position, orientation / length)
