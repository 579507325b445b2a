"""A robot behind ROS 2 topics as `robolearn.real.interfaces.Robot`."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from robolearn.proprioception import objects_of, pose_vector, proprioception
from robolearn.real.offer import POSES, STATE, pose_topic
from robolearn.robot import RobotSpec
from robolearn.schema import Schema

JOINT_STATES, COMMANDS = "/joint_states", "~/commands"
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # an old sensor message is of no use
RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)  # position controllers subscribe reliably
CLOCKS_AGREE = 1.0  # s: a stamp outside this is from a machine whose clock is not ours


class RosRobot:
    """Reads `/joint_states` and `/objects/<name>/pose`, writes `~/commands`.

    Callbacks only keep the newest message; what is read out of it is computed when the controller asks.
    """

    def __init__(self, node: Node, *, schema: Schema, robot: RobotSpec) -> None:
        """Subscribe and advertise for the channels of `schema` on `node`."""
        self.schema, self._robot, self._node = schema, robot, node
        self._objects = objects_of(schema[POSES]) if POSES in schema.features else ()
        self._joints: tuple[JointState, float] | None = None
        self._poses: dict[str, tuple[PoseStamped, float]] = {}
        self._names: list[str] = []
        self._at: list[int] = []
        self._publisher = node.create_publisher(Float64MultiArray, COMMANDS, RELIABLE)
        node.create_subscription(JointState, JOINT_STATES, self._on_joints, NEWEST)
        for name in self._objects:
            node.create_subscription(PoseStamped, pose_topic(name), self._pose_callback(name), NEWEST)

    def age(self) -> float | None:
        """Seconds since the oldest part of the newest observation was received, or None before the first."""
        joints, poses = self._joints, self._poses
        if joints is None or len(poses) < len(self._objects):
            return None
        return time.monotonic() - min((joints[1], *(received for _, received in poses.values())))

    def read(self) -> tuple[dict[str, NDArray[Any]], float] | None:
        """Newest observation and its age in s: by its stamps where the clocks agree, else since it was received."""
        if self.age() is None:
            return None
        assert self._joints is not None
        message, received = self._joints
        position = np.array(message.position)[self._indices(message.name)]
        n = self._robot.n_joints
        observation = {STATE: proprioception(self._robot, position[:n], position[n:].sum())}
        age = self._age_of(message, received)
        if self._objects:
            parts = [self._poses[name] for name in self._objects]
            observation[POSES] = np.concatenate([pose_of(part) for part, _ in parts]).astype(np.float32)
            age = max(age, *(self._age_of(part, when) for part, when in parts))
        return observation, age

    def write(self, position: NDArray[np.float64]) -> None:
        """Publish joint positions [n_joints] in rad, then the gripper width in m."""
        # rclpy copies an array.array a hundred times faster than a list
        self._publisher.publish(Float64MultiArray(data=array("d", position.tobytes())))

    @property
    def rivals(self) -> int:
        """Other publishers of the command topic: two would fight for the arm."""
        return self._node.count_publishers(self._publisher.topic_name) - 1

    def _on_joints(self, message: JointState) -> None:
        self._joints = message, time.monotonic()

    def _pose_callback(self, name: str) -> Any:
        def on_pose(message: PoseStamped) -> None:
            self._poses[name] = message, time.monotonic()

        return on_pose

    def _indices(self, names: Sequence[str]) -> list[int]:
        if names != self._names:
            # a driver that drops a joint later ends the loop: ValueError names it
            self._at = [names.index(name) for name in (*self._robot.joint_names, *self._robot.gripper_joints)]
            self._names = list(names)
        return self._at

    def _age_of(self, message: Any, received: float) -> float:
        stamp = message.header.stamp
        by_stamp = time.time() - (stamp.sec + stamp.nanosec * 1e-9)
        return by_stamp if 0.0 <= by_stamp < CLOCKS_AGREE else time.monotonic() - received


def pose_of(message: PoseStamped) -> NDArray[np.float64]:
    """The channel's part [9] of a pose message."""
    p, q = message.pose.position, message.pose.orientation
    return pose_vector(np.array((p.x, p.y, p.z)), np.array((q.w, q.x, q.y, q.z)))
