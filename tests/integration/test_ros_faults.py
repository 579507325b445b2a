"""A simulated arm's flaws and faults on real topics."""

import json

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.qos import QoSProfile, ReliabilityPolicy

from robolearn.real.ros2.client import Client
from robolearn.real.ros2.processes import Child, shared_memory_of, sweep
from robolearn.real.ros2.simulated_arm import FAULT
from robolearn.sim.robots import get_robot

pytestmark = [pytest.mark.ros, pytest.mark.alone]
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
FLAWS = {"noise": 0.01, "encoder-offset": 0.2, "latency": 0.1, "command-timeout": 0.5}
HOME = np.array(get_robot("panda").home)


@pytest.fixture
def client(domain, tmp_path):
    words = [
        "--plant",
        "kinematic_plant",
        "--task",
        "move",
        "--cameras",
        "wrist",
        *(str(w) for kv in FLAWS.items() for w in kv),
    ]
    words = [f"--{word}" if word in FLAWS else word for word in words]
    arm = Child("arm", "robolearn.real.ros2.simulated_arm", words, domain=domain, log=tmp_path / "arm.txt")
    one = Client(domain)
    one.watch([arm])
    yield one
    segments = shared_memory_of([arm.process.pid])
    one.close()
    arm.end()
    sweep(segments, domain=domain)


def test_an_arm_with_flaws_and_a_fault(client):
    from sensor_msgs.msg import Image, JointState
    from std_msgs.msg import String

    heard, node = [], client._node

    def hear(message):
        sent = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        heard.append((np.array(message.position), node.get_clock().now().nanoseconds * 1e-9 - sent, message))

    node.create_subscription(JointState, "/joint_states", hear, BEST_EFFORT)
    faults = node.create_publisher(String, FAULT, 10)
    client._wait(lambda: len(heard) > 200, "joint states")
    client._wait(lambda: faults.get_subscription_count() > 0, "the arm's ear for faults")
    arm = np.stack([position[:7] for position, _, _ in heard])
    assert arm.std(axis=0) == pytest.approx(FLAWS["noise"], rel=0.3)
    off = np.abs(arm.mean(axis=0) - HOME)
    assert 0.05 < off.max() < FLAWS["encoder-offset"] + 0.05  # seconds of noise average out, the start's noise stays
    assert min(age for _, age, _ in heard) >= FLAWS["latency"] - 1e-3
    assert len(heard[-1][2].effort) == 9

    views = []
    node.create_subscription(Image, "/cameras/wrist/image_raw", views.append, BEST_EFFORT)
    client._wait(lambda: views, "a picture")
    assert (views[-1].height, views[-1].width, views[-1].encoding) == (2, 3, "rgb8")
    assert list(views[-1].data) == list(range(18))
    faults.publish(String(data=json.dumps({"kind": "nan", "seconds": 60.0})))
    client._wait(lambda: np.isnan(heard[-1][0][0]), "a joint that is not a number")
    faults.publish(String(data=json.dumps({"kind": "nan", "seconds": 0.0})))
    client._wait(lambda: np.isfinite(heard[-1][0]).all(), "the end of the fault")
    faults.publish(String(data="nonsense"))
    faults.publish(String(data=json.dumps({"kind": "clock", "seconds": 60.0})))
    client._wait(lambda: heard[-1][1] < -3000, "a clock that is ahead")
