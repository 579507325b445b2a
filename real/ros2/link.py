"""A node in this process and the arm's topics, for who acts without a control node of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from robolearn.errors import UserError
from robolearn.real.ros2.policy_controller import NAME
from robolearn.real.ros2.robot_io import RosRobot
from robolearn.robot import RobotSpec
from robolearn.schema import Schema

CONNECT_TIMEOUT = 60.0  # s for the first observation, and for the commands of a node that was killed to be forgotten


class Link:
    """A node, spinning in a thread of its own, and the arm's topics."""

    def __init__(self, *, schema: Schema, robot: RobotSpec, domain: int | None) -> None:
        """Join a domain; that of ROS_DOMAIN_ID when None."""
        self._context = Context()
        # with rclpy's own handlers the context would be gone before the arm has come to rest
        rclpy.init(context=self._context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        self.node: Node = rclpy.create_node(NAME, context=self._context)
        self.robot = RosRobot(self.node, schema=schema, robot=robot)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, name="ros", daemon=True)

    def connect(self) -> None:
        """Begin to listen; wait for observations, and until no other node commands the arm.

        Raises:
            UserError: in vain.
        """
        self._thread.start()
        self.wait(lambda: self.robot.age() is not None, "joint states and object poses", CONNECT_TIMEOUT)
        self.wait(lambda: self.robot.rivals <= 0, "other nodes that command this arm to end", CONNECT_TIMEOUT)

    def wait(self, done: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until `done()`.

        Raises:
            UserError: it is not within `timeout` s.
        """
        limit = time.monotonic() + timeout
        while not done():
            if time.monotonic() > limit:
                raise UserError(f"waited {timeout:.0f} s in vain for {what}: see that the arm's driver runs")
            time.sleep(0.01)

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        if self._thread.is_alive():  # nobody may have connected
            self._thread.join(1.0)
        self.node.destroy_node()
        self._context.shutdown()


def button(node: Node, name: str, pressed: Callable[[], str | None]) -> None:
    """Offer a Trigger service `~/name` that calls `pressed`, which may say why it failed."""

    def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = pressed() or ""
        response.success = not response.message
        return response

    node.create_service(Trigger, f"~/{name}", answer)
