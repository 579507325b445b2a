"""What a robot offers to a bundle: as somebody describes it, or as its drivers publish it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from robolearn.errors import UserError
from robolearn.proprioception import objects_of
from robolearn.real.bundle import Bundle
from robolearn.real.offer import POSES, cameras_of, offered_schema, pose_topic
from robolearn.real.ros2.availability import RANGE, discovery_range
from robolearn.real.ros2.robot_io import NEWEST
from robolearn.real.ros2.wiring import Wiring
from robolearn.schema import Schema

OBSERVER = "policy_controller_observer"
GRACE = 3.0  # s after the first joint state to discover other publishers
LISTS = ("joints", "objects", "cameras")


class EndedError(Exception):
    """The process is asked to end while it waits."""


def observe(
    bundle: Bundle, wiring: Wiring, *, description: str, wait: float, context: Context, ended: threading.Event
) -> Schema:
    """Channels that the robot gives to a bundle.

    Args:
        bundle: what is to run.
        wiring: where its drivers publish.
        description: JSON file {"joints": [...], "objects": [...], "cameras": [...]}; "" to look at the topics.
        wait: s to wait for a joint state.
        context: of the node that is to run it.
        ended: set when the process shall end.

    Raises:
        UserError: nobody publishes, or something that the bundle needs is missing.
        EndedError: `ended` was set meanwhile.
    """
    if description:
        offer = _described(Path(description))
    else:
        # a node of its own, for who asks may be in a callback, where nothing can be received
        # and a name of its own, for a launch file names every node of the process as the control node
        own = ["--ros-args", "-r", f"__node:={OBSERVER}"]
        node = rclpy.create_node(OBSERVER, context=context, cli_args=own, start_parameter_services=False)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            offer = _Observation(node, executor, ended).of(bundle, wiring, wait)
        finally:
            executor.shutdown()
            node.destroy_node()
    if ended.is_set():
        raise EndedError
    joints = wiring.named_by_robot(offer["joints"], bundle.robot)
    schema = offered_schema(bundle, joints=joints, objects=offer["objects"], cameras=offer["cameras"])
    bundle.require_robot(schema)
    return schema


def _described(path: Path) -> dict[str, list[str]]:
    try:
        offer = json.loads(path.read_text())
        return {name: list(offer[name] if name != "cameras" else offer.get(name, ())) for name in LISTS}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        expected = '{"joints": [...], "objects": [...]}'
        raise UserError(f"{path} is no robot description {expected}: {error}") from error


class _Observation:
    """Looks at topics until all that a bundle needs has been seen, or for a while."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor, ended: threading.Event) -> None:
        self._node, self._executor, self._ended = node, executor, ended
        self._seen: dict[str, set[tuple[str, ...]]] = {}

    def of(self, bundle: Bundle, wiring: Wiring, wait: float) -> dict[str, list[str]]:
        """Joint names of joint states, of those that fit best; objects and cameras that somebody publishes."""
        states = wiring.joint_states
        for topic in {states, wiring.gripper_states or states}:
            self._listen(topic)
        self._node.get_logger().info(f"waiting for {states}")
        limit = time.monotonic() + wait
        while not self._seen[states] and not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.1)
            if time.monotonic() > limit:
                raise UserError(
                    f"nobody publishes {states} in ROS domain {self._node.context.get_domain_id()} within "
                    f"{RANGE}={discovery_range()}: start the arm's driver there"
                )
        poses = objects_of(bundle.schema[POSES]) if POSES in bundle.schema.features else ()
        objects = {name: pose_topic(name) for name in poses}
        cameras = {name: wiring.camera_topic(name) for name in cameras_of(bundle.schema)}
        limit = time.monotonic() + GRACE
        while True:
            joints, whole = self._joints(bundle, wiring)
            found = [self._published(topics) for topics in (objects, cameras)]
            if whole and found == [list(objects), list(cameras)]:
                break
            if time.monotonic() > limit or self._ended.is_set():
                break
            self._executor.spin_once(timeout_sec=0.1)
        return {"joints": joints, "objects": found[0], "cameras": found[1]}

    def _listen(self, topic: str) -> None:
        seen: set[tuple[str, ...]] = set()
        self._seen[topic] = seen
        self._node.create_subscription(JointState, topic, lambda message: seen.add(tuple(message.name)), NEWEST)

    def _joints(self, bundle: Bundle, wiring: Wiring) -> tuple[list[str], bool]:
        """Names found, and whether they are all that is wanted; arm and gripper may have drivers of their own."""
        arm, fingers = wiring.arm_joints(bundle.robot), wiring.finger_joints(bundle.robot)
        if not wiring.gripper_states:
            return self._fitting(wiring.joint_states, [*arm, *fingers])
        first, one = self._fitting(wiring.joint_states, arm)
        second, other = self._fitting(wiring.gripper_states, fingers)
        return [*first, *second], one and other

    def _fitting(self, topic: str, wanted: Iterable[str]) -> tuple[list[str], bool]:
        wanted = set(wanted)
        names = max(self._seen[topic], key=lambda names: len(wanted & set(names)), default=())
        return list(names), wanted <= set(names)

    def _published(self, topics: dict[str, str]) -> list[str]:
        return [name for name, topic in topics.items() if self._node.count_publishers(topic) > 0]
