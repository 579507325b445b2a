"""The control node beside others: its parameters, a gripper's own driver, somebody else's commands."""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from rcl_interfaces.msg import ParameterType
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_bystander import until
from test_ros_deployment import FORWARD, listen, require_within_limits, write_bundle

from robolearn.errors import UserError
from robolearn.real.ros2 import observing, recording
from robolearn.real.ros2.episodes import Session
from robolearn.real.ros2.node import declare
from robolearn.real.ros2.policy_controller import OPTIONS
from robolearn.real.ros2.wiring import Wiring
from robolearn.real.settings import Settings

pytestmark = [pytest.mark.ros, pytest.mark.alone]
DEFAULTS = {name: default for name, (default, _) in OPTIONS.items()}


@pytest.fixture
def make_node(domain):
    context, nodes = Context(), []
    rclpy.init(context=context, domain_id=domain)

    def make(**overrides):
        given = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(rclpy.create_node("parameters", context=context, parameter_overrides=given))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.shutdown()


def test_parameters_that_would_have_no_effect_cannot_be_set(make_node):
    node = make_node()
    assert declare(node, DEFAULTS) == DEFAULTS
    (result,) = node.set_parameters([Parameter("stale_after", value=1.0)])
    assert not result.successful
    assert node.get_parameter("stale_after").value == DEFAULTS["stale_after"]
    (result,) = node.set_parameters([Parameter("instruction", value="lift the cube")])
    assert result.successful
    for name, (default, meaning) in OPTIONS.items():
        described = node.describe_parameter(name)
        assert described.description == meaning
        assert (described.type == ParameterType.PARAMETER_DOUBLE) == isinstance(default, float)
        assert len(described.floating_point_range) == isinstance(default, float)


@pytest.mark.parametrize("value", [float("inf"), -1.0, "fast", 250])
def test_a_parameter_out_of_range_or_of_another_type_is_told(make_node, value):
    with pytest.raises(UserError, match="parameter 'rate'"):
        declare(make_node(rate=value), DEFAULTS)


LAUNCHED = ["--ros-args", "-r", "__node:=policy_controller", "-r", "/states:=/others"]  # as launch files do


def has_parameters(node, name):
    services = node.get_service_names_and_types_by_node(name, "/")
    return f"/{name}/get_parameters" in [service for service, _ in services]


def test_the_recorder_of_a_launched_node_has_a_name_of_its_own_and_remaps_nothing_again(make_node, domain, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setattr(sys, "argv", ["policy_controller", *LAUNCHED])
    onlooker = make_node()
    end = recording.listen(lambda _: None, topics=[("/states", "std_msgs/msg/String")])
    try:
        until(lambda: set(onlooker.get_node_names()) == {"parameters", recording.NAME}, "its name")
        until(lambda: onlooker.count_subscribers("/states") == 1, "the subscription")
        assert not has_parameters(onlooker, recording.NAME)
    finally:
        end()


def test_the_observer_of_a_launched_node_has_a_name_of_its_own_and_sees_what_is_remapped(domain, monkeypatch):
    context, ended, seen = Context(), threading.Event(), []
    rclpy.init(context=context, domain_id=domain, args=LAUNCHED)

    class Observation:
        def __init__(self, node, executor, ended):
            seen.append((node.get_name(), node.resolve_topic_name("/states"), has_parameters(node, node.get_name())))
            ended.set()

        def of(self, *_):
            return {}

    monkeypatch.setattr(observing, "_Observation", Observation)
    with pytest.raises(observing.EndedError):
        observing.observe(None, None, description="", wait=0.0, context=context, ended=ended)
    assert seen == [(observing.OBSERVER, "/others", False)]
    context.shutdown()


def test_where_nobody_publishes_it_is_said_where_that_is(domain):
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    where = f"nobody publishes /joint_states in ROS domain {domain} within ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"
    wiring, ended = Wiring.parse(DEFAULTS), threading.Event()
    with pytest.raises(UserError, match=where):
        observing.observe(None, wiring, description="", wait=0.1, context=context, ended=ended)
    context.shutdown()


@pytest.fixture
def session(domain, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", action=0.2 * FORWARD)
    settings = Settings(stale_after=0.5, chunk_timeout=5.0)
    options = {"plant": "kinematic_plant", "task": "move", "robot": "panda", "domain": domain}
    with Session(bundle, out=Path(tmp_path), settings=settings, **options) as session:
        yield session


def test_a_gripper_s_own_driver_changes_nothing_and_another_commander_stops_the_arm(session):
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float64MultiArray

    client = session._client
    sent, states = listen(client)
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    gripper = client._node.create_publisher(JointState, "/joint_states", best_effort)
    client._wait(lambda: gripper.get_subscription_count() > 0, "the control node")
    fingers = JointState(name=["panda_finger_joint1", "panda_finger_joint2"], position=[0.03, 0.03])
    timer = client._node.create_timer(0.01, lambda: gripper.publish(fingers))
    client.reset(1)
    client.start()
    client._wait(lambda: len(sent) > 100, "commands")
    client._wait(lambda: states and states[-1] == "active", "its state")
    client._node.destroy_timer(timer)
    client._node.create_publisher(Float64MultiArray, "/policy_controller/commands", 1)
    client._wait(lambda: states[-1] == "fault", "the fault")
    client._wait(lambda: np.array_equal(sent[-1], sent[-2]), "the arm to come to rest")
    require_within_limits(np.stack(sent))
    assert client.call("stop") == ""
    assert "another node publishes commands" in client.call("start")


def test_the_emergency_stop_holds_until_its_reset_whatever_the_lifecycle_is_asked(session):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState
    from std_srvs.srv import Trigger

    client = session._client
    sent, states = listen(client)
    for name in ("estop", "reset_estop"):
        client._services[name] = client._node.create_client(Trigger, f"/policy_controller/{name}")
        client._wait(client._services[name].service_is_ready, name)
    change = client._node.create_client(ChangeState, "/policy_controller/change_state")
    client.reset(1)
    client.start()
    client._wait(lambda: len(sent) > 100, "commands")
    assert client.call("estop") == ""
    client._wait(lambda: states and states[-1] == "estop", "its state")
    require_within_limits(np.stack(sent))
    assert client.call("stop") == ""
    assert "cannot start while estop" in client.call("start")
    forgotten = change.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CLEANUP)))
    client._wait(forgotten.done, "the answer to cleanup")
    assert not forgotten.result().success
    stopped = len(sent)
    assert client.call("reset_estop") == ""
    assert "no emergency stop" in client.call("reset_estop")
    assert (np.stack(sent[stopped - 1 :]) == sent[stopped - 1]).all()  # a slow listener still hears of standstill
    client.start()
    client._wait(lambda: len(sent) > stopped + 50, "commands after the reset")
