"""What the control node listens to, recorded as it was received, by the recorder's own process."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from robolearn.real.bag_messages import Message
from robolearn.real.recording import Put
from robolearn.real.ros2.availability import require_rclpy

NAME = "policy_controller_recorder"
DEPTH = 100  # messages of a topic that may wait


def topics_of(node: Any) -> tuple[tuple[str, str], ...]:
    """Topics that a node subscribes to, each once, with the name of its messages' type."""
    return tuple(dict.fromkeys((each.topic_name, _kind(each.msg_type)) for each in node.subscriptions))


def _kind(message: type) -> str:
    return f"{message.__module__.partition('.')[0]}/msg/{message.__name__}"


def listen(put: Put, *, topics: Sequence[tuple[str, str]]) -> Callable[[], None]:
    """Hand all messages of these topics to `put`, in the domain of the environment; return what ends it."""
    require_rclpy()
    import rclpy
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from rclpy.signals import SignalHandlerOptions

    context = Context()
    # no arguments: those of a launch file, which this process has too, would give it the control node's name, and
    # remap topics that are what they are remapped to already
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(NAME, context=context, start_parameter_services=False)
    quality = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)  # fits any publisher's
    for topic, kind in topics:
        package, _, name = kind.split("/")
        message = getattr(importlib.import_module(f"{package}.msg"), name)
        # raw: the bytes go into the recording as they are
        node.create_subscription(message, topic, _taker(put, topic, kind), quality, raw=True)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, name="listen", daemon=True)
    thread.start()

    def end() -> None:
        executor.shutdown()
        thread.join(1.0)
        node.destroy_node()
        context.shutdown()

    return end


def _taker(put: Put, topic: str, kind: str) -> Callable[[bytes], None]:
    return lambda data: put(Message(topic, kind, time.time_ns(), bytes(data)))
