"""What drivers publish, each kind of message kept as its newest value; what is not whole counts as not received."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState

from robolearn.errors import UserError
from robolearn.pictures import crop, decode_compressed, decode_raw, fit
from robolearn.proprioception import pose_vector
from robolearn.real.jump_watch import JumpWatch
from robolearn.real.newest import Newest
from robolearn.real.watchdog import Alarm

Array = NDArray[np.float64]
UNIT = 0.05  # that the length of an orientation's quaternion may differ from 1
COMPRESSED = "/compressed"  # ends the topics of sensor_msgs/CompressedImage, as image_transport names them


class Joints(NamedTuple):
    """A joint state.

    Attributes:
        position: [n] in the driver's units, rad for the arm's joints.
        effort: [n], N m for the arm's joints, or None where the driver gives none.
    """

    position: Array
    effort: Array | None


class JointInput:
    """Joints of one message, found by name in any order; messages that lack one are left aside."""

    def __init__(self, names: Sequence[str]) -> None:
        """Look for these."""
        self.newest: Newest[Joints] = Newest()
        self._wanted = tuple(names)
        self._names: list[str] = []
        self._at: list[int] | None = None
        self._watch: JumpWatch | None = None

    def watch_jumps(self, names: Sequence[str], velocity: Sequence[float], bound: float) -> Alarm:
        """From now on look whether the first joints jump, see `JumpWatch`; ask what comes back."""
        self._watch = JumpWatch(names, velocity, bound=bound)
        return self._watch.alarm

    def take(self, message: JointState) -> None:
        """Keep a message, if it is whole."""
        at = self._indices(message.name)
        if at is None or len(message.position) != len(message.name):
            return
        position = np.array(message.position)[at]
        if np.isfinite(position).all():
            if (watch := self._watch) is not None:
                watch.take(position[: watch.size], stamp=stamp_of(message), received=time.monotonic())
            given = len(message.effort) == len(message.name)
            keep(self.newest, Joints(position, np.array(message.effort)[at] if given else None), message)

    def _indices(self, names: Sequence[str]) -> list[int] | None:
        """Where the joints are in a message with these names; None if one is missing."""
        if names != self._names:
            whole = set(self._wanted) <= set(names)
            self._at = [names.index(name) for name in self._wanted] if whole else None
            self._names = list(names)
        return self._at


class CameraInput:
    """Pictures of one camera, as the policy reads them."""

    def __init__(self, shape: tuple[int, ...], *, cropped: bool) -> None:
        """Fit pictures to `shape` [height, width, 3], the middle part only if `cropped`."""
        self.newest: Newest[NDArray[np.uint8]] = Newest()
        self.fault = ""  # why the last message was left aside
        self._shape, self._cropped = shape, cropped

    def take_raw(self, message: Image) -> None:
        """Keep a sensor_msgs/Image."""
        size = {"height": message.height, "width": message.width, "step": message.step}
        self._take(message, lambda: decode_raw(message.data, encoding=message.encoding, **size))

    def take_compressed(self, message: CompressedImage) -> None:
        """Keep a sensor_msgs/CompressedImage."""
        what = f"a compressed picture ('{message.format}')"
        self._take(message, lambda: decode_compressed(message.data, what=what))

    def _take(self, message: Any, decode: Callable[[], NDArray[np.uint8]]) -> None:
        try:
            picture = decode()
            if not picture.size:
                raise UserError("a picture is empty")
        except UserError as error:
            self.fault = str(error)
            return
        self.fault = ""
        if self._cropped:
            picture = crop(picture, self._shape)
        # a copy: the message's memory is not ours
        keep(self.newest, np.array(fit(picture, self._shape)), message)


def camera_input(node: Node, topic: str, qos: Any, shape: tuple[int, ...], *, cropped: bool) -> CameraInput:
    """Subscribe to a camera's pictures, compressed ones where the topic's name says so."""
    camera = CameraInput(shape, cropped=cropped)
    if topic.endswith(COMPRESSED):
        node.create_subscription(CompressedImage, topic, camera.take_compressed, qos)
    else:
        node.create_subscription(Image, topic, camera.take_raw, qos)
    return camera


def pose_callback(newest: Newest[Array]) -> Callable[[PoseStamped], None]:
    """What keeps the poses of an object, if they are poses."""

    def on_pose(message: PoseStamped) -> None:
        if (pose := pose_of(message)) is not None:
            keep(newest, pose, message)

    return on_pose


def wrench_callback(newest: Newest[Array]) -> Callable[[WrenchStamped], None]:
    """What keeps wrenches [6]: force in N, torque in N m, in the message's frame."""

    def on_wrench(message: WrenchStamped) -> None:
        force, torque = message.wrench.force, message.wrench.torque
        wrench = np.array((force.x, force.y, force.z, torque.x, torque.y, torque.z))
        if np.isfinite(wrench).all():
            keep(newest, wrench, message)

    return on_wrench


def pose_of(message: PoseStamped) -> Array | None:
    """The channel's part [9] of a pose message; None if it is no pose."""
    p, q = message.pose.position, message.pose.orientation
    position, orientation = np.array((p.x, p.y, p.z)), np.array((q.w, q.x, q.y, q.z))
    length = np.linalg.norm(orientation)
    if not np.isfinite(position).all() or not abs(length - 1.0) <= UNIT:  # also if it is not a number
        return None
    return pose_vector(position, orientation / length)


def keep[T](newest: Newest[T], value: T, message: Any) -> None:
    """Keep what a message with a header says."""
    newest.take(value, stamp=stamp_of(message), received=time.monotonic(), wall=time.time())


def stamp_of(message: Any) -> float:
    """When a message with a header was made, s by the clock of its maker; 0 where that is not said."""
    stamp = message.header.stamp
    return float(stamp.sec + stamp.nanosec * 1e-9)
