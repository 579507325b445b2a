"""Watches the commands that reach an arm, in a process of its own; see `robolearn.real.audit`.

`python -m robolearn.real.ros2.observer --bundle FOLDER --out FILE` writes at its end what it found, and beside it, as
`.npz`, when each command came (monotonic, s), what it was, and where the joints were.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.real.audit import Recording, audit
from robolearn.real.realtime import use_fifo
from robolearn.real.ros2.availability import require_rclpy
from robolearn.real.ros2.simulated_arm import COMMANDS
from robolearn.real.statistics import write_json
from robolearn.robot import RobotSpec

Array = NDArray[np.float64]
PRIORITY = 40  # of SCHED_FIFO: below what it watches
DEPTH = 2000  # messages that wait for it
LISTENING = "listening"  # what it says when no command will be missed any more


class Observer:
    """Listens to commands and joint states."""

    def __init__(self, node: Any, robot: RobotSpec) -> None:
        """Subscribe on `node`."""
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Float64MultiArray

        self._joints, self._size = robot.joint_names, robot.n_joints + 1
        self._measured: Array = np.full(robot.n_joints, np.nan)
        self._seen: list[tuple[float, Array, Array]] = []
        reliable = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._commands = node.create_subscription(Float64MultiArray, COMMANDS, self._on_command, reliable)
        node.create_subscription(JointState, "/joint_states", self._on_joints, newest)

    @property
    def listens(self) -> bool:
        """Whether somebody who may command the arm is heard."""
        return bool(self._commands.get_publisher_count() > 0)

    @property
    def recording(self) -> Recording:
        """All that was seen."""
        times, commands, measured = zip(*self._seen, strict=True) if self._seen else ((), (), ())
        n = self._size
        return Recording(np.array(times), np.array(commands).reshape(-1, n), np.array(measured).reshape(-1, n - 1))

    def _on_command(self, message: Any) -> None:
        command: Array = np.array(message.data)
        if command.shape != (self._size,):
            command = np.full(self._size, np.nan)  # no command at all
        self._seen.append((time.monotonic(), command, self._measured))

    def _on_joints(self, message: Any) -> None:
        where = dict(zip(message.name, message.position, strict=False))
        if all(name in where for name in self._joints):
            self._measured = np.array([where[name] for name in self._joints])


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="observer", description="Judge the commands that reach an arm.")
    parser.add_argument("--bundle", type=Path, required=True, help="folder whose robot's limits count")
    parser.add_argument("--rate", type=float, default=250.0, help="commands per second")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of what was found")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        require_rclpy()
        robot = RobotSpec.from_dict(json.loads((options.bundle / "robot.json").read_text()))  # the rest may be broken
        _observe(robot, rate=options.rate, out=options.out, ended=ended)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def _observe(robot: RobotSpec, *, rate: float, out: Path, ended: threading.Event) -> None:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    use_fifo(PRIORITY)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("robolearn_observer")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    observer, told = Observer(node, robot), False
    try:
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.1)
            if not told and observer.listens:
                told = True
                print(LISTENING, flush=True)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
    recording = observer.recording
    np.savez_compressed(out.with_suffix(".npz"), **vars(recording))
    write_json(out, audit(robot, recording, rate=rate).to_dict())


if __name__ == "__main__":
    sys.exit(main())
