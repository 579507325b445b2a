"""A robot behind ROS 2 topics as `robolearn.real.interfaces.Robot`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from robolearn.proprioception import objects_of, proprioception
from robolearn.real.contact import ContactStop
from robolearn.real.newest import Newest
from robolearn.real.offer import POSES, STATE, cameras_of, pose_topic
from robolearn.real.ros2.inputs import CameraInput, JointInput, camera_input, pose_callback, wrench_callback
from robolearn.real.ros2.outputs import make_writer
from robolearn.real.ros2.wiring import Wiring
from robolearn.real.settings import Settings
from robolearn.real.watchdog import Alarm
from robolearn.robot import RobotSpec
from robolearn.safety_settings import SafetySettings
from robolearn.schema import Schema

Array = NDArray[np.float64]
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # an old sensor message is of no use
RIVAL = "another node publishes commands to this arm: end it first"
RIVAL_PERIOD = 0.2  # s between two looks for one


class RosRobot:
    """Reads joint states, object poses and cameras, writes commands; `Wiring` says which topics.

    A message that lacks a joint, as those of a gripper's own driver do, or that holds something that is not a finite
    number, no orientation or no picture, counts as not received: what was received before grows old, and the arm holds.
    """

    def __init__(
        self,
        node: Node,
        *,
        schema: Schema,
        robot: RobotSpec,
        wiring: Wiring | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Subscribe and advertise for the channels of `schema` on `node`; `settings` say when pictures are old."""
        wiring, settings = wiring or Wiring(), settings or Settings()
        self.schema, self._robot, self._node, self._wiring = schema, robot, node, wiring
        self._slow_limit = settings.camera_stale_after
        self._joints, self._fingers = self._subscribe_joints()
        self._poses = self._subscribe_poses()
        self._cameras = self._subscribe_cameras()
        self._wrench: Newest[Array] = Newest()
        if wiring.wrench:
            node.create_subscription(WrenchStamped, wiring.wrench, wrench_callback(self._wrench), NEWEST)
        self._writer = make_writer(node, robot=robot, wiring=wiring, period=1.0 / settings.rate)

    def age(self) -> float | None:
        """Seconds since the oldest part of the newest observation was made, or None before the first.

        By its stamp, where the clocks agree, else since it was received. Pictures, and a gripper with a driver of its
        own, come less often than joint states: they count when they are older than `Settings.camera_stale_after`.
        """
        now = time.monotonic()
        oldest = 0.0
        for part in self._fast_parts:
            if (age := part.age(now)) is None:
                return None
            oldest = max(oldest, age)
        for slow in self._slow_parts:
            if (age := slow.age(now)) is None:
                return None
            if not age <= self._slow_limit:
                oldest = max(oldest, age)
        return oldest

    def ages(self) -> dict[str, float | None]:
        """Seconds since each part was made, by what it is; None before the first."""
        now = time.monotonic()
        parts: dict[str, Newest[Any]] = {"joint_states": self._joints.newest}
        if self._fingers is not None:
            parts["gripper_states"] = self._fingers.newest
        parts |= {f"pose_{name}": newest for name, newest in self._poses.items()}
        parts |= {f"camera_{key.rpartition('.')[2]}": camera.newest for key, camera in self._cameras.items()}
        if self._wiring.wrench:
            parts["wrench"] = self._wrench
        return {name: newest.age(now) for name, newest in parts.items()}

    def read(self) -> tuple[dict[str, NDArray[Any]], float] | None:
        """Newest observation and its `age` in s."""
        age, joints = self.age(), self._joints.newest.value
        if age is None or joints is None:
            return None
        n = self._robot.n_joints
        fingers = joints.position[n:] if self._fingers is None else _known(self._fingers.newest).position
        width = np.array(self._wiring.width(fingers, self._robot))
        observation: dict[str, NDArray[Any]] = {STATE: proprioception(self._robot, joints.position[:n], width)}
        if self._poses:
            parts = [_known(newest) for newest in self._poses.values()]
            observation[POSES] = np.concatenate(parts).astype(np.float32)
        observation |= {key: _known(camera.newest) for key, camera in self._cameras.items()}
        return observation, age

    def write(self, position: NDArray[np.float64]) -> None:
        """Publish joint positions [n_joints] in rad, then the gripper width in m."""
        self._writer.send(position)

    @property
    def effort(self) -> tuple[Array, float] | None:
        """Effort of the arm's joints [n_joints] in N m and its age in s; None where the driver gives none."""
        joints, age = self._joints.newest.value, self._joints.newest.age(time.monotonic())
        if joints is None or joints.effort is None or age is None:
            return None
        return joints.effort[: self._robot.n_joints], age

    @property
    def wrench(self) -> tuple[Array, float] | None:
        """Force in N and torque in N m [6], in the sensor's frame, and its age in s; None before the first."""
        wrench, age = self._wrench.value, self._wrench.age(time.monotonic())
        return None if wrench is None or age is None else (wrench, age)

    def alarms(self, safety: SafetySettings) -> tuple[Alarm, ...]:
        """What efforts, wrench, jumps of joints and clocks give reason to stop for; see `Controller`.

        Raises:
            UserError: the settings do not fit the robot.
        """
        contact = ContactStop(safety, self, joint_names=self._robot.joint_names)
        parts = (*self._fast_parts, *self._slow_parts)
        robot = self._robot
        jumps = self._joints.watch_jumps(robot.joint_names, robot.max_velocity, safety.joint_jump)
        return (contact.alarm, jumps, *(newest.watch_clocks(safety.clock_jump) for newest in parts))

    @property
    def rivals(self) -> int:
        """Other publishers of the command topics: two would fight for the arm."""
        return max(self._node.count_publishers(publisher.topic_name) - 1 for publisher in self._writer.publishers)

    def watch_rivals(self, found: Callable[[], object]) -> None:
        """Call `found` again and again while there are any."""

        def look() -> None:
            if self.rivals > 0:
                found()

        self._node.create_timer(RIVAL_PERIOD, look)

    def _subscribe_joints(self) -> tuple[JointInput, JointInput | None]:
        arm, fingers = self._wiring.arm_joints(self._robot), self._wiring.finger_joints(self._robot)
        apart = self._wiring.gripper_states
        joints = JointInput(arm if apart else [*arm, *fingers])
        self._node.create_subscription(JointState, self._wiring.joint_states, joints.take, NEWEST)
        self._fast_parts: list[Newest[Any]] = [joints.newest]
        self._slow_parts: list[Newest[Any]] = []
        if not apart:
            return joints, None
        gripper = JointInput(fingers)
        self._node.create_subscription(JointState, apart, gripper.take, NEWEST)
        self._slow_parts.append(gripper.newest)
        return joints, gripper

    def _subscribe_poses(self) -> dict[str, Newest[Array]]:
        objects = objects_of(self.schema[POSES]) if POSES in self.schema.features else ()
        poses: dict[str, Newest[Array]] = {name: Newest() for name in objects}
        for name, newest in poses.items():
            self._node.create_subscription(PoseStamped, pose_topic(name), pose_callback(newest), NEWEST)
        self._fast_parts += poses.values()
        return poses

    def _subscribe_cameras(self) -> dict[str, CameraInput]:
        cameras = {}
        for name, key in cameras_of(self.schema).items():
            topic, shape = self._wiring.camera_topic(name), self.schema[key].shape
            cropped = self._wiring.camera_fit == "crop"
            cameras[key] = camera_input(self._node, topic, NEWEST, shape, cropped=cropped)
            self._slow_parts.append(cameras[key].newest)
        return cameras


def _known[T](newest: Newest[T]) -> T:
    assert newest.value is not None, "the age of the whole is known"
    return newest.value
