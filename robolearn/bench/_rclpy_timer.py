"""A control node as rclpy's tutorials write it: a timer that publishes commands. What it is late by goes into a file.

`python -m robolearn.bench._rclpy_timer --rate HZ --seconds S --joints N --out FILE`
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="_rclpy_timer", description="Publish commands from an rclpy timer.")
    parser.add_argument("--rate", type=float, required=True, help="commands per second")
    parser.add_argument("--seconds", type=float, required=True, help="for how long")
    parser.add_argument("--joints", type=int, required=True, help="values of a command")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of what was found")
    options = parser.parse_args(arguments)
    options.out.write_text(json.dumps(publish(options.rate, options.seconds, options.joints)) + "\n")
    return 0


def publish(rate: float, seconds: float, joints: int) -> dict[str, object]:
    """Publish for a while; return lateness in ms of each callback to its time, and how many times had none."""
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float64MultiArray

    rclpy.init()
    node = rclpy.create_node("timer_controller")
    publisher = node.create_publisher(Float64MultiArray, "/timer_controller/commands", 1)
    node.create_subscription(JointState, "/joint_states", lambda message: None, 1)
    period, missed, due = 1.0 / rate, 0, 0.0
    late: list[float] = []

    def on_time() -> None:
        nonlocal due, missed
        now = time.monotonic()
        skipped = max(int((now - due) / period), 0)
        missed, due = missed + skipped, due + skipped * period
        late.append(round(1e3 * max(now - due, 0.0), 4))
        due += period
        publisher.publish(Float64MultiArray(data=[0.0] * joints))

    due = time.monotonic() + period  # as the timer counts
    node.create_timer(period, on_time)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    return {"lateness_ms": late, "missed_periods": missed}


if __name__ == "__main__":
    sys.exit(main())
