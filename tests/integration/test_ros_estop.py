"""The emergency stop's topics and services, on a node in this process."""

import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robolearn.real.ros2.estop import BY_BUTTON, Button, EmergencyStop

pytestmark = [pytest.mark.ros, pytest.mark.alone]
PATIENCE = 20.0  # s


class Latch:
    """In place of a controller that answers at once."""

    def __init__(self):
        self.pressed, self.latched = [], False

    def press(self, reason):
        self.pressed.append(reason)
        self.latched = True
        return done("")

    def reset(self):
        refusal = "" if self.latched else "nothing to reset"
        self.latched = False
        return done(refusal)


def done(result):
    future = Future()
    future.set_result(result)
    return future


class Nodes:
    """A controller and an operator, and the controller's stop once it is made."""

    def __init__(self, context):
        self.node, self.client = (rclpy.create_node(name, context=context) for name in ("controller", "operator"))
        self.executor, self.latch = SingleThreadedExecutor(context=context), Latch()
        for each in (self.node, self.client):
            self.executor.add_node(each)

    def make(self, button=None):
        latch = self.latch
        EmergencyStop(self.node, press=latch.press, reset=latch.reset, latched=lambda: latch.latched, button=button)

    def wait(self, ready):
        limit = time.monotonic() + PATIENCE
        while not ready():
            self.executor.spin_once(timeout_sec=0.05)
            assert time.monotonic() < limit

    def call(self, name):
        service = self.client.create_client(Trigger, f"/controller/{name}")
        self.wait(service.service_is_ready)
        future = service.call_async(Trigger.Request())
        self.wait(future.done)
        return future.result().message

    def publisher(self, **quality):
        return self.client.create_publisher(Bool, "/controller/estop_pressed", QoSProfile(depth=1, **quality))


@pytest.fixture
def nodes(domain):
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    nodes = Nodes(context)
    yield nodes
    nodes.executor.shutdown()
    for each in (nodes.node, nodes.client):
        each.destroy_node()
    context.shutdown()


def test_service_and_button_press_it_and_a_released_button_does_not_reset_it(nodes):
    nodes.make()
    latch, call, wait, button = nodes.latch, nodes.call, nodes.wait, nodes.publisher()
    wait(lambda: button.get_subscription_count() > 0)
    assert call("estop") == ""
    assert latch.latched
    assert call("reset_estop") == ""
    assert not latch.latched
    for _ in range(3):
        button.publish(Bool(data=True))
    wait(lambda: latch.latched)
    assert "still pressed" in call("reset_estop")
    button.publish(Bool(data=False))
    wait(lambda: call("reset_estop") != "the emergency stop's button is still pressed: release it first")
    assert not latch.latched
    assert latch.pressed == ["emergency stop by ~/estop", "emergency stop by the button"]
    assert call("reset_estop") == "nothing to reset"


def test_a_button_that_does_not_ask_for_delivery_is_heard(nodes):
    nodes.make()
    button = nodes.publisher(reliability=ReliabilityPolicy.BEST_EFFORT)
    nodes.wait(lambda: button.get_subscription_count() > 0)
    button.publish(Bool(data=True))
    nodes.wait(lambda: nodes.latch.latched)


def test_a_button_that_was_pressed_before_the_node_came_is_heard(nodes):
    nodes.publisher(durability=DurabilityPolicy.TRANSIENT_LOCAL).publish(Bool(data=True))
    nodes.make()
    nodes.wait(lambda: nodes.latch.latched)
    assert "still pressed" in nodes.call("reset_estop")


def test_a_stop_that_was_not_reset_holds_in_the_next_control_loop(nodes):
    button = Button(nodes.node)
    nodes.make(button)
    assert nodes.call("estop") == ""
    assert pressed_anew(button) == ["emergency stop by ~/estop"]
    assert nodes.call("reset_estop") == ""
    assert pressed_anew(button) == []


def test_a_button_that_was_pressed_while_there_was_no_control_loop_counts_in_the_next(nodes):
    button, said = Button(nodes.node), nodes.publisher()
    nodes.wait(lambda: said.get_subscription_count() > 0)
    said.publish(Bool(data=True))
    nodes.wait(lambda: button.held)
    assert pressed_anew(button) == [BY_BUTTON]


def pressed_anew(button):
    """What is pressed where a control loop begins beside a button."""
    latch, node = Latch(), SimpleNamespace(create_service=lambda *_: None)
    before = button.on_press
    EmergencyStop(node, press=latch.press, reset=latch.reset, latched=lambda: latch.latched, button=button)
    button.on_press = before
    return latch.pressed
