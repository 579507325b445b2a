"""Plays an arm's driver and a perception node in real time, so that the control node is tested as on hardware.

Publishes `/joint_states` (with the finger joints) and `/objects/<name>/pose`, obeys
`/policy_controller/commands` and, like a real driver, holds the last one when no newer comes. `/arm/reset`
(std_msgs/Int64) starts the episode of a seed, a negative one ends an episode; `/arm/episode` (std_msgs/String, JSON)
says how it goes. What is simulated comes from a plant: any module with `make_plant(*, task, robot, period)`.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
from array import array
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.real.offer import pose_topic
from robolearn.real.realtime import sleep_until, undisturbed, use_fifo
from robolearn.real.ros2.availability import require_rclpy, split_arguments
from robolearn.robot import RobotSpec

Array = NDArray[np.float64]
COMMANDS, RESET, EPISODE = "/policy_controller/commands", "/arm/reset", "/arm/episode"
POSE_RATE, EPISODE_RATE, RECORD_RATE = 125.0, 20.0, 10.0  # Hz
COMMAND_TIMEOUT = 0.1  # s without a command after which the driver reports that it holds
PRIORITY = 50  # of SCHED_FIFO: hardware does not wait for other programs
BACKLOG = 0.1  # s of simulated time that may be made up after a delay; what is beyond is lost


class PlantState(Protocol):
    """Arrays over one world [1, ...]; see `robolearn.sim.state.WorldState`."""

    @property
    def joints(self) -> Array:
        """Arm joint positions."""

    @property
    def joint_velocities(self) -> Array:
        """Arm joint velocities."""

    @property
    def width(self) -> Array:
        """Gripper opening."""

    @property
    def objects(self) -> dict[str, tuple[Array, Array]]:
        """Position and orientation of each object."""


class Plant(Protocol):
    """A simulated arm with objects."""

    robot: RobotSpec
    objects: tuple[str, ...]

    @property
    def state(self) -> PlantState:
        """Present state."""

    @property
    def pose(self) -> Array:
        """Where everything is [size], for rendering later."""

    def reset(self, seed: int) -> None:
        """Begin the episode of a seed."""

    def step(self, command: Array | None) -> None:
        """Advance one control period towards a command [n_joints + 1]; None holds the pose after the reset."""

    def stage(self) -> tuple[int, bool]:
        """Index of the current stage and whether the task is done."""


class Episode:
    """Progress and recording of one episode."""

    def __init__(self, seed: int, count: int) -> None:
        """Begin the episode of `seed`, the `count`-th reset."""
        self.seed, self.count = seed, count
        self.elapsed = 0.0
        self.begun = self.success = False
        self.success_at: float | None = None
        self.stage = 0
        self._frames: list[dict[str, Any]] = []

    def advance(self, period: float) -> None:
        """Count simulated time from the first command on."""
        self.elapsed += period * self.begun

    def judge(self, stage: int, done: bool) -> None:
        """Take the task's verdict on the present state; success stays."""
        self.stage = stage
        if done and self.begun and not self.success:
            self.success, self.success_at = True, self.elapsed

    def record(self, plant: Plant) -> None:
        """Keep a frame."""
        state = plant.state
        frame: dict[str, Any] = {
            "time": self.elapsed,
            "pose": plant.pose.copy(),
            "joints": state.joints[0],
            "width": state.width[0],
            "stage": self.stage,
            "success": self.success,
        }
        frame |= {
            f"objects.{name}": np.concatenate([part[0] for part in state.objects[name]]) for name in plant.objects
        }
        self._frames.append(frame)

    def save(self, folder: Path) -> None:
        """Write `episode_<seed>.npz` with one array per kind of data, [frames, ...], in one piece."""
        if not self._frames:
            return
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".episode_{self.seed}.{os.getpid()}.npz"
        columns: dict[str, Any] = {key: np.stack([frame[key] for frame in self._frames]) for key in self._frames[0]}
        np.savez_compressed(temporary, **columns)
        os.replace(temporary, folder / f"episode_{self.seed}.npz")

    def to_json(self, *, holding: bool) -> str:
        """What `/arm/episode` says."""
        return json.dumps(
            {
                "seed": self.seed,
                "resets": self.count,
                "elapsed": round(self.elapsed, 3),
                "success": self.success,
                "success_at": self.success_at,
                "stage": self.stage,
                "holding": holding,
            }
        )


class SimulatedArm:
    """The node; `run` is the real-time loop."""

    def __init__(self, node: Any, plant: Plant, *, rate: float, record: Path | None) -> None:
        """Advertise and subscribe on `node`."""
        from geometry_msgs.msg import PoseStamped
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Float64MultiArray, Int64, String

        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._node, self._plant, self._record = node, plant, record
        self._period, self._rate = 1.0 / rate, rate
        self._types = JointState, PoseStamped, String
        self._joints = node.create_publisher(JointState, "/joint_states", newest)
        self._poses = {name: node.create_publisher(PoseStamped, pose_topic(name), newest) for name in plant.objects}
        self._news = node.create_publisher(String, EPISODE, reliable)
        node.create_subscription(Float64MultiArray, COMMANDS, self._on_command, newest)
        node.create_subscription(Int64, RESET, self._on_reset, reliable)
        self._resets: list[int] = []
        self._command: tuple[Array, float] | None = None
        self._episode = Episode(-1, 0)
        robot = plant.robot
        self._names = [*robot.joint_names, *robot.gripper_joints]

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
                self._advance(period)
                period += 1
        self._finish()

    def _advance(self, period: int) -> None:
        if self._resets:
            self._restart(self._resets.pop(0))
        command = self._command
        self._plant.step(None if command is None else command[0])
        self._episode.begun |= command is not None
        self._episode.advance(self._period)
        stamp = self._node.get_clock().now().to_msg()
        state = self._plant.state
        self._publish_joints(state, stamp)
        if self._due(period, POSE_RATE):
            self._publish_poses(state, stamp)
        if self._due(period, EPISODE_RATE):
            self._episode.judge(*self._plant.stage())
            holding = command is None or time.monotonic() - command[1] > COMMAND_TIMEOUT
            self._news.publish(self._types[2](data=self._episode.to_json(holding=holding)))
        if self._record is not None and self._episode.begun and self._due(period, RECORD_RATE):
            self._episode.record(self._plant)

    def _due(self, period: int, rate: float) -> bool:
        return period % max(1, round(self._rate / rate)) == 0

    def _restart(self, seed: int) -> None:
        self._finish()
        self._command = None  # what was sent in the last episode must not move the arm in this one
        self._plant.reset(max(seed, 0))
        self._episode = Episode(seed, self._episode.count + 1)

    def _finish(self) -> None:
        if self._record is not None and self._episode.seed >= 0:
            self._episode.judge(*self._plant.stage())
            if self._episode.begun:
                self._episode.record(self._plant)
            self._episode.save(self._record)

    def _on_command(self, message: Any) -> None:
        command = np.array(message.data)
        if command.shape == (self._plant.robot.n_joints + 1,) and np.isfinite(command).all():
            self._command = command, time.monotonic()

    def _on_reset(self, message: Any) -> None:
        self._resets.append(message.data)

    def _publish_joints(self, state: PlantState, stamp: Any) -> None:
        finger = state.width[0] / 2
        message = self._types[0](
            name=self._names,
            position=array("d", (*state.joints[0], finger, finger)),
            velocity=array("d", (*state.joint_velocities[0], 0.0, 0.0)),
        )
        message.header.stamp = stamp
        self._joints.publish(message)

    def _publish_poses(self, state: PlantState, stamp: Any) -> None:
        for name, publisher in self._poses.items():
            (pos,), (quat,) = state.objects[name]
            message = self._types[1]()
            message.header.stamp, message.header.frame_id = stamp, "base"
            p, q = message.pose.position, message.pose.orientation
            p.x, p.y, p.z = map(float, pos)
            q.w, q.x, q.y, q.z = map(float, quat)
            publisher.publish(message)


def run_arm(plant: Plant, *, rate: float, record: Path | None, ros_arguments: list[str] | None = None) -> None:
    """Play the driver until SIGINT or SIGTERM, in the ROS domain of the environment."""
    require_rclpy()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("simulated_arm")
    arm = SimulatedArm(node, plant, rate=rate, record=record)
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
    own, ros_arguments = split_arguments(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(own)
    try:
        make_plant = importlib.import_module(options.plant).make_plant
        plant = make_plant(task=options.task, robot=options.robot, period=1.0 / options.rate)
        run_arm(plant, rate=options.rate, record=options.record, ros_arguments=ros_arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
