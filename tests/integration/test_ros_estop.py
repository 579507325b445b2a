"""The emergency stop's topics and services, on a node in this process."""

import time
from concurrent.futures import Future

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robolearn.real.ros2.estop import EmergencyStop

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


@pytest.fixture
def bench(domain):
    context, latch = Context(), Latch()
    rclpy.init(context=context, domain_id=domain)
    node, client = (rclpy.create_node(name, context=context) for name in ("controller", "operator"))
    EmergencyStop(node, press=latch.press, reset=latch.reset, latched=lambda: latch.latched)
    executor = SingleThreadedExecutor(context=context)
    for each in (node, client):
        executor.add_node(each)

    def wait(ready):
        limit = time.monotonic() + PATIENCE
        while not ready():
            executor.spin_once(timeout_sec=0.05)
            assert time.monotonic() < limit

    def call(name):
        service = client.create_client(Trigger, f"/controller/{name}")
        wait(service.service_is_ready)
        future = service.call_async(Trigger.Request())
        wait(future.done)
        return future.result().message

    button = client.create_publisher(Bool, "/controller/estop_pressed", 10)
    wait(lambda: button.get_subscription_count() > 0)
    yield latch, call, button, wait
    executor.shutdown()
    for each in (node, client):
        each.destroy_node()
    context.shutdown()


def test_service_and_button_press_it_and_a_released_button_does_not_reset_it(bench):
    latch, call, button, wait = bench
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
