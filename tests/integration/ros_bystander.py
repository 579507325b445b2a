"""A person and an onlooker beside a learning arm, for the tests through real ROS 2."""

import json
import threading
import time
from contextlib import contextmanager

import numpy as np

from robolearn.real.ros2.people import TAKEOVER

PATIENCE = 120.0  # s, on a busy machine


def until(done, what, timeout=PATIENCE):
    limit = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < limit, f"waited in vain for {what}"
        time.sleep(0.02)


class Bystander:
    """A node that listens to the arm's news, presses buttons and takes over."""

    def __init__(self, domain):
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from std_msgs.msg import Float64MultiArray, String

        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("bystander", context=self.context)
        self.news = {"resets": -1, "holding": True}
        self.sent = []
        self.node.create_subscription(String, "/arm/episode", self._on_news, 10)
        self.node.create_subscription(Float64MultiArray, "/policy_controller/commands", self._on_command, 1000)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        threading.Thread(target=self.executor.spin, daemon=True).start()

    def _on_news(self, message):
        self.news = json.loads(message.data)

    def _on_command(self, message):
        self.sent.append(np.array(message.data))

    def press(self, name):
        from std_srvs.srv import Trigger

        client = self.node.create_client(Trigger, f"/policy_controller/{name}")
        until(client.service_is_ready, name)
        future = client.call_async(Trigger.Request())
        until(future.done, name)
        assert future.result().success

    @contextmanager
    def pressing(self, name):
        """Press again and again, for the question comes when the arm is at home."""
        ended = threading.Event()

        def go_on():
            while not ended.wait(0.3):
                self.press(name)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def taking_over(self, kind, topic, message, listeners=1):
        """Publish again and again, once this many listen: the control node, and its recorder where it has one."""
        publisher = self.node.create_publisher(kind, f"/policy_controller/{topic}", 1)
        until(lambda: publisher.get_subscription_count() >= listeners, topic)
        timer = self.node.create_timer(0.02, lambda: publisher.publish(message))
        try:
            yield
        finally:
            self.node.destroy_timer(timer)
            time.sleep(2 * TAKEOVER)  # until the arm is handed back

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.shutdown()
