"""Take over from a running control node with the keyboard: `python -m robolearn.real.ros2.keyboard`."""

from __future__ import annotations

import argparse
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from robolearn.errors import UserError
from robolearn.real.joystick import Wish
from robolearn.real.keys import HELP, Keys
from robolearn.real.ros2.availability import require_rclpy

RATE = 30.0  # Hz
END = {"q", "\x03", "\x04"}  # q, Ctrl-C, Ctrl-D
ESCAPE = "\x1b"
TYPED = 64  # bytes taken at a time


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="keyboard", description="Take an arm over with the keyboard.")
    parser.add_argument("--node", default="/policy_controller", help="name of the control node")
    parser.add_argument("--speed", type=float, default=0.05, help="m/s")
    parser.add_argument("--turn", type=float, default=0.3, help="rad/s")
    options = parser.parse_args(arguments)
    try:
        if not sys.stdin.isatty():
            raise UserError("the keyboard is read from a terminal: run this in one")
        require_rclpy()
        with publishing(options.node) as publish, raw(sys.stdin):
            print(HELP.replace("\n", "\r\n"), end="\r\n", flush=True)
            steer(sys.stdin, Keys(speed=options.speed, turn=options.turn), publish)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


@contextmanager
def raw(stream: TextIO) -> Iterator[None]:
    """Let a terminal give each key at once, without showing it."""
    before = termios.tcgetattr(stream)
    try:
        tty.setraw(stream)
        yield
    finally:
        termios.tcsetattr(stream, termios.TCSADRAIN, before)


def steer(stream: TextIO, keys: Keys, publish: Callable[[Wish], None]) -> None:
    """Read keys and publish what they mean, `RATE` times per second, until one of `END` or the input's end."""
    deadline = time.monotonic()
    while True:
        deadline += 1 / RATE
        while (rest := deadline - time.monotonic()) > 0:
            if select.select([stream], [], [], rest)[0]:
                typed = os.read(stream.fileno(), TYPED).decode(errors="replace")
                if not typed or END & set(typed):
                    return
                if not typed.startswith(ESCAPE):  # an arrow key's letters mean nothing
                    for key in typed:
                        keys.press(key, time.monotonic())
        if (wish := keys.wish(time.monotonic())) is not None:
            publish(wish)


@contextmanager
def publishing(node_name: str) -> Iterator[Callable[[Wish], None]]:
    """Yield what publishes wishes on the topics of a control node."""
    import rclpy
    from geometry_msgs.msg import TwistStamped
    from rclpy.context import Context
    from rclpy.signals import SignalHandlerOptions
    from std_msgs.msg import Float64

    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("robolearn_keyboard", context=context)
    twists = node.create_publisher(TwistStamped, f"{node_name}/intervention_twist", 1)
    openings = node.create_publisher(Float64, f"{node_name}/intervention_gripper", 1)

    def publish(wish: Wish) -> None:
        message = TwistStamped()
        message.header.stamp = node.get_clock().now().to_msg()
        linear, angular = message.twist.linear, message.twist.angular
        linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = map(float, wish.twist)
        if wish.opening is not None:
            openings.publish(Float64(data=wish.opening))
        twists.publish(message)

    try:
        yield publish
    finally:
        node.destroy_node()
        context.shutdown()


if __name__ == "__main__":
    sys.exit(main())
