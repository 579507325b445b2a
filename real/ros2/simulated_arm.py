"""Plays an arm's driver and a perception node in real time, so that the control node is tested as on hardware.

Publishes `/joint_states` (with the finger joints), `/objects/<name>/pose` and `/cameras/<name>/image_raw`, obeys
`/policy_controller/commands` and, like a real driver, holds the last one when no newer comes. `/arm/reset`
(std_msgs/Int64) starts the episode of a seed, a negative one ends an episode; `/arm/episode` (std_msgs/String, JSON)
says how it goes; `/arm/fault` (std_msgs/String, JSON) begins a fault of `robolearn.real.faults`. What is simulated
comes from a plant: any module with `make_plant`; see `robolearn.sim.ros_arm` for its arguments.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import signal
import sys
import threading
import time
from array import array
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.imperfections import Imperfections
from robolearn.real.faults import Faults, Joints
from robolearn.real.late_line import Line
from robolearn.real.offer import camera_topic, pose_topic
from robolearn.real.realtime import sleep_until, undisturbed, use_fifo
from robolearn.real.ros2.arm_episode import Episode, Plant, PlantState
from robolearn.real.ros2.availability import keep_to_this_machine, require_rclpy, split_arguments

Array = NDArray[np.float64]
COMMANDS, RESET, EPISODE = "/policy_controller/commands", "/arm/reset", "/arm/episode"
FAULT = "/arm/fault"
POSE_RATE, CAMERA_RATE, EPISODE_RATE, RECORD_RATE = 125.0, 30.0, 20.0, 10.0  # Hz
PRIORITY = 50  # of SCHED_FIFO: hardware does not wait for other programs
BACKLOG = 0.1  # s of simulated time that may be made up after a delay; what is beyond is lost


class SimulatedArm:
    """The node; `run` is the real-time loop."""

    def __init__(
        self, node: Any, plant: Plant, *, rate: float, record: Path | None, imperfections: Imperfections
    ) -> None:
        """Advertise and subscribe on `node`."""
        from geometry_msgs.msg import PoseStamped
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import Image, JointState
        from std_msgs.msg import Float64MultiArray, Int64, String

        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._node, self._plant, self._record = node, plant, record
        self._period, self._rate = 1.0 / rate, rate
        self._types = JointState, PoseStamped, String, Image
        self._joints = node.create_publisher(JointState, "/joint_states", newest)
        self._poses = {name: node.create_publisher(PoseStamped, pose_topic(name), newest) for name in plant.objects}
        self._cameras = {name: node.create_publisher(Image, camera_topic(name), newest) for name in plant.cameras}
        self._news = node.create_publisher(String, EPISODE, reliable)
        node.create_subscription(Float64MultiArray, COMMANDS, self._on_command, newest)
        node.create_subscription(Int64, RESET, self._on_reset, reliable)
        node.create_subscription(String, FAULT, self._on_fault, reliable)
        self._resets: list[int] = []
        self._received: float | None = None  # when the newest command came, monotonic
        self._command: Array | None = None  # that is obeyed
        self._episode = Episode(-1, 0)
        robot = plant.robot
        self._names = [*robot.joint_names, *robot.gripper_joints]
        self._faults, self._flaws = Faults(), imperfections
        self._rng = np.random.default_rng((imperfections.seed, 0))
        self._offsets = imperfections.offsets(robot.n_joints)
        self._inward: Line[Array] = self._line(imperfections.command_latency)
        self._outward: Line[Joints] = self._line(imperfections.latency)
        self._located: Line[tuple[PlantState, float]] = self._line(imperfections.latency)
        self._seen: Line[tuple[dict[str, NDArray[np.uint8]], float]] = self._line(imperfections.latency)

    def run(self, ended: threading.Event) -> None:
        """Simulate in real time until `ended`."""
        gc.collect()
        use_fifo(PRIORITY)
        deadline, period = time.monotonic(), 0
        with undisturbed():
            while not ended.is_set():
                deadline += self._period
                late = sleep_until(deadline)
                if late > BACKLOG:
                    deadline += late
                self._advance(period, time.monotonic())
                period += 1
        self._finish()

    def _advance(self, period: int, now: float) -> None:
        if self._resets:
            self._restart(self._resets.pop(0))
        for command in self._inward.take(now):
            self._command = command
        if self._faults.active(now) == "deaf":
            self._plant.hold()
        else:
            self._plant.step(self._command)
        self._episode.begun |= self._command is not None
        self._episode.advance(self._period)
        self._measure(period, now)
        self._publish(now)
        if self._due(period, EPISODE_RATE):
            self._episode.judge(*self._plant.stage())
            holding = self._received is None or now - self._received > self._flaws.command_timeout
            self._news.publish(self._types[2](data=self._episode.to_json(holding=holding)))
        if self._record is not None and self._episode.begun and self._due(period, RECORD_RATE):
            self._episode.record(self._plant)

    def _line(self, latency: float) -> Line[Any]:
        return Line(latency=latency, jitter=self._flaws.jitter, loss=self._flaws.loss, rng=self._rng)

    def _due(self, period: int, rate: float) -> bool:
        return period % max(1, round(self._rate / rate)) == 0

    def _restart(self, seed: int) -> None:
        self._finish()
        # what was sent in the last episode must not move the arm in this one
        self._command = self._received = None
        for line in (self._inward, self._outward, self._located, self._seen):
            line.clear()
        self._plant.reset(max(seed, 0))
        self._episode = Episode(seed, self._episode.count + 1)

    def _finish(self) -> None:
        if self._record is not None and self._episode.seed >= 0:
            self._episode.judge(*self._plant.stage())
            if self._episode.begun:
                self._episode.record(self._plant)
            self._episode.save(self._record)

    # ------------------------------------------------------------ what comes

    def _on_command(self, message: Any) -> None:
        command = np.array(message.data)
        if command.shape == (self._plant.robot.n_joints + 1,) and np.isfinite(command).all():
            command[:-1] -= self._offsets  # the driver knows no other joints than those of its encoders
            now = time.monotonic()
            self._received = now
            self._inward.put(command, now)

    def _on_reset(self, message: Any) -> None:
        self._resets.append(message.data)

    def _on_fault(self, message: Any) -> None:
        try:
            self._faults.begin(message.data, time.monotonic())
        except ValueError as error:
            self._node.get_logger().error(str(error))

    # ------------------------------------------------------------ what goes

    def _measure(self, period: int, now: float) -> None:
        state, stamp = self._plant.state, self._node.get_clock().now().nanoseconds * 1e-9
        finger = state.width[0] / 2
        joints = state.joints[0] + self._offsets
        if self._flaws.noise:
            joints = joints + self._rng.normal(0.0, self._flaws.noise, joints.shape)
        position = np.array((*joints, finger, finger))
        velocity = np.array((*state.joint_velocities[0], 0.0, 0.0))
        effort = np.array((*self._plant.effort, 0.0, 0.0))
        self._outward.put(Joints(self._names, position, velocity, effort, stamp), now)
        if self._due(period, POSE_RATE):
            self._located.put((state, stamp), now)
        if self._cameras and self._due(period, CAMERA_RATE):
            self._seen.put((self._plant.pictures(), stamp), now)

    def _publish(self, now: float) -> None:
        for joints in self._outward.take(now):
            if (told := self._faults.joints(joints, now)) is not None:
                self._publish_joints(told)
        for state, stamp in self._located.take(now):
            if self._faults.active(now) != "lost":
                self._publish_poses(state, stamp)
        for pictures, stamp in self._seen.take(now):
            if self._faults.active(now) != "blind":
                self._publish_pictures(pictures, stamp)

    def _publish_joints(self, joints: Joints) -> None:
        message = self._types[0](
            name=list(joints.names),
            position=array("d", joints.position),
            velocity=array("d", joints.velocity),
            effort=array("d", joints.effort),
        )
        message.header.stamp = _time(joints.stamp)
        self._joints.publish(message)

    def _publish_poses(self, state: PlantState, stamp: float) -> None:
        for name, publisher in self._poses.items():
            (pos,), (quat,) = state.objects[name]
            if self._flaws.pose_noise:
                pos = pos + self._rng.normal(0.0, self._flaws.pose_noise, 3)
            message = self._types[1]()
            message.header.stamp, message.header.frame_id = _time(stamp), "base"
            p, q = message.pose.position, message.pose.orientation
            p.x, p.y, p.z = map(float, pos)
            q.w, q.x, q.y, q.z = map(float, quat)
            publisher.publish(message)

    def _publish_pictures(self, pictures: dict[str, NDArray[np.uint8]], stamp: float) -> None:
        for name, picture in pictures.items():
            height, width, channels = picture.shape
            message = self._types[3](height=height, width=width, encoding="rgb8", step=width * channels)
            message.header.stamp, message.header.frame_id = _time(stamp), name
            message.data = array("B", picture.tobytes())  # which rclpy takes without looking at each byte
            self._cameras[name].publish(message)


def _time(seconds: float) -> Any:
    from builtin_interfaces.msg import Time

    whole = int(seconds)
    return Time(sec=whole, nanosec=int((seconds - whole) * 1e9))


def run_arm(
    plant: Plant,
    *,
    rate: float,
    record: Path | None,
    imperfections: Imperfections,
    ros_arguments: list[str] | None = None,
) -> None:
    """Play the driver until SIGINT or SIGTERM, in the ROS domain of the environment."""
    require_rclpy()
    keep_to_this_machine()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("simulated_arm")
    arm = SimulatedArm(node, plant, rate=rate, record=record, imperfections=imperfections)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin, daemon=True)
    spinning.start()
    try:
        arm.run(ended)
    finally:
        executor.shutdown()
        spinning.join(1.0)
        node.destroy_node()
        rclpy.shutdown()


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="simulated_arm", description="Play an arm's driver through ROS 2.")
    parser.add_argument("--plant", default="robolearn.sim.ros_arm", help="module with make_plant")
    parser.add_argument("--task", default="lift")
    parser.add_argument("--robot", default="panda")
    parser.add_argument("--rate", type=float, default=250.0, help="joint states per second")
    parser.add_argument("--record", type=Path, default=None, help="folder for the episodes' trajectories")
    parser.add_argument("--cameras", default="", help="names of cameras, with commas between them")
    parser.add_argument("--image-size", type=int, default=84, help="width and height of their pictures in pixels")
    for field in fields(Imperfections):
        word, kind = field.name.replace("_", "-"), type(field.default)
        parser.add_argument(f"--{word}", type=kind, default=field.default, help=field.metadata["help"])
    own, ros_arguments = split_arguments(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(own)
    try:
        flaws = Imperfections(**{field.name: getattr(options, field.name) for field in fields(Imperfections)})
        make_plant = importlib.import_module(options.plant).make_plant
        period = 1.0 / options.rate
        plant = make_plant(
            task=options.task,
            robot=options.robot,
            period=period,
            gain=flaws.gain,
            gravity=flaws.gravity,
            cameras=tuple(filter(None, options.cameras.split(","))),
            image_size=options.image_size,
        )
        run_arm(plant, rate=options.rate, record=options.record, imperfections=flaws, ros_arguments=ros_arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
