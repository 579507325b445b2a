"""Directs a simulated arm and the control node: waits for answers, never for a while."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from robolearn.errors import UserError
from robolearn.real.ros2.availability import require_rclpy
from robolearn.real.ros2.processes import Child
from robolearn.real.ros2.simulated_arm import COMMANDS, EPISODE, RESET

START_TIMEOUT = 60.0  # s to start a process and load the bundle on a busy machine
ANSWER_TIMEOUT = 10.0  # s for a service or a reset


class Client:
    """Directs arm and node; waits for answers, never for a while."""

    def __init__(self, domain: int) -> None:
        """Join the domain with a node of its own."""
        require_rclpy()
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from std_msgs.msg import Int64, String
        from std_srvs.srv import Trigger

        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = rclpy.create_node("robolearn_episodes", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._children: Sequence[Child] = ()
        self._news: dict[str, Any] = {}
        self._int, self._request = Int64, Trigger.Request
        self._reset = self._node.create_publisher(Int64, RESET, 10)
        self._node.create_subscription(String, EPISODE, self._on_news, 10)
        self._services = {
            name: self._node.create_client(Trigger, f"/policy_controller/{name}")
            for name in ("start", "stop", "success", "failure")
        }

    @property
    def node(self) -> Any:
        """Its node, for further topics; `spin` serves them."""
        return self._node

    def spin(self, seconds: float = 0.05) -> None:
        """Serve what comes within `seconds`, at most one message."""
        self._executor.spin_once(timeout_sec=seconds)

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.shutdown()

    def watch(self, children: Sequence[Child]) -> None:
        """Give up waiting when one of these ends."""
        self._children = children

    def connect(self) -> None:
        """Wait until every topic and service has its partner; see that the domain is ours alone."""
        self._wait(lambda: bool(self._news), "the arm", START_TIMEOUT)
        self._wait(lambda: self._reset.get_subscription_count() > 0, "the arm's reset topic", START_TIMEOUT)
        for name, service in self._services.items():
            self._wait(service.service_is_ready, f"the control node's service '{name}'", START_TIMEOUT)
        self._wait(lambda: self._node.count_subscribers(COMMANDS) > 0, "the arm's commands", START_TIMEOUT)
        for topic in ("/joint_states", COMMANDS):
            if (count := self._node.count_publishers(topic)) > 1:
                raise UserError(f"ROS domain busy: {count} nodes publish {topic}; end the others")

    def reset(self, seed: int) -> None:
        """Begin the episode of `seed` (ends one only, if negative) and wait until the arm confirms it."""
        before = self._news["resets"]
        self._reset.publish(self._int(data=seed))
        self._wait(lambda: self._news["resets"] > before and self._news["seed"] == seed, "the arm's reset")

    def call(self, name: str) -> str:
        """Call a service; return "" or why it refused."""
        future = self._services[name].call_async(self._request())
        self._wait(future.done, f"the answer of service '{name}'")
        return str(future.result().message)

    def start(self) -> None:
        """Start the controller; it refuses until its observations are fresh."""
        limit = time.monotonic() + ANSWER_TIMEOUT
        while refusal := self.call("start"):
            if time.monotonic() > limit:
                raise UserError(f"the control node does not start: {refusal}")

    def wait_for_end(self, limit: float) -> dict[str, Any]:
        """Wait for success or until `limit` s of the arm's time are over; return the arm's last news."""

        def over() -> bool:
            return bool(self._news["success"]) or self._news["elapsed"] >= limit

        self._wait(over, "the end of the episode", 3 * limit + ANSWER_TIMEOUT)
        return dict(self._news)

    def _on_news(self, message: Any) -> None:
        self._news = json.loads(message.data)

    def _wait(self, done: Callable[[], bool], what: str, timeout: float = ANSWER_TIMEOUT) -> None:
        limit = time.monotonic() + timeout
        while not done():
            self._executor.spin_once(timeout_sec=0.05)
            for child in self._children:
                child.require_alive()
            if time.monotonic() > limit:
                raise UserError(f"waited {timeout:.0f} s in vain for {what}; see the logs beside the results")
