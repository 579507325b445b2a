"""The control node's lifecycle, pictures and instructions through real ROS 2."""

import os
import signal
import subprocess
import threading
import time
from array import array
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from kinematic_plant import KinematicPlant
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_bystander import Bystander, until
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from test_ros_deployment import FORWARD, write_bundle
from trajectory_msgs.msg import JointTrajectory

from robolearn.real.ros2.managed import ManagedNode
from robolearn.real.ros2.policy_controller import OPTIONS
from robolearn.real.ros2.processes import Child

pytestmark = [pytest.mark.ros, pytest.mark.alone]
DEFAULTS = {name: default for name, (default, _) in OPTIONS.items()}
AGAIN = 5.0  # s without an answer after which a service is called anew
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Bench(Bystander):
    """Plays driver and camera with the node's own messages, and manages the node."""

    def __init__(self, domain):
        super().__init__(domain)
        self.plant, self.brightness, self.seeing = KinematicPlant(), 0, True
        robot = self.plant.robot
        self.names = [*robot.joint_names, *robot.gripper_joints]
        self.states = self.node.create_publisher(JointState, "/joint_states", BEST_EFFORT)
        self.pictures = self.node.create_publisher(Image, "/cameras/wrist/image_raw", BEST_EFFORT)
        self.clients = {}
        self.node.create_timer(0.004, self._publish_joints)
        self.node.create_timer(0.03, self._publish_picture)

    def _publish_joints(self):
        if self.sent:
            self.plant.step(self.sent[-1])
        finger = self.plant.pose[-1] / 2
        message = JointState(name=self.names, position=[*self.plant.pose[:-1], finger, finger])
        message.header.stamp = self.node.get_clock().now().to_msg()
        self.states.publish(message)

    def _publish_picture(self):
        message = Image(height=48, width=64, encoding="bgr8", step=192)
        message.data = array("B", bytes([self.brightness]) * (48 * 192))
        if self.seeing:  # else it publishes the same picture again and again
            self.stamp = self.node.get_clock().now().to_msg()
        message.header.stamp = self.stamp
        self.pictures.publish(message)

    def call(self, kind, name, **fields):
        client = self.clients.get(name)
        if client is None:
            client = self.clients[name] = self.node.create_client(kind, f"/policy_controller/{name}")
        until(client.service_is_ready, name)
        calls = []

        def answered():
            # the client may be seen by the service before its answers can reach it
            if not calls or time.monotonic() > calls[-1][1] + AGAIN:
                calls.append((client.call_async(kind.Request(**fields)), time.monotonic()))
            return any(future.done() for future, _ in calls)

        until(answered, name)
        return next(future for future, _ in calls if future.done()).result()

    def change(self, transition):
        return self.call(ChangeState, "change_state", transition=Transition(id=transition)).success

    @property
    def state(self):
        return self.call(GetState, "get_state").current_state.id

    def press(self, name):
        return self.call(Trigger, name).message

    @property
    def tool(self):
        return self.plant.tool

    def until_rest(self):
        until(lambda: np.array_equal(self.sent[-1], self.sent[-2]), "the last commands to be of standstill")

    def moves(self):
        before, count = self.tool.copy(), len(self.sent)
        until(lambda: len(self.sent) > count + 50, "commands")
        return self.tool - before


@pytest.fixture
def bench(domain):
    bench = Bench(domain)
    bench.domain = domain
    yield bench
    bench.close()


@contextmanager
def running(bench, tmp_path, bundle, **options):
    words = {"bundle": bundle, "stale_after": 0.5, "chunk_timeout": 5.0, "camera_stale_after": 1.0, **options}
    arguments = [text for name, value in words.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    module = "robolearn.real.ros2.policy_controller"
    node = Child("control node", module, arguments, domain=bench.domain, log=tmp_path / "node.txt")
    try:
        yield node
    finally:
        node.end()


def test_a_manager_leads_the_node_through_its_states(bench, tmp_path):
    bundle = tmp_path / "bundle"
    with running(bench, tmp_path, bundle, autostart="false") as node:
        assert bench.state == State.PRIMARY_STATE_UNCONFIGURED
        assert not bench.change(Transition.TRANSITION_CONFIGURE)  # there is no bundle yet
        assert "no bundle" in (tmp_path / "node.txt").read_text()
        assert bench.state == State.PRIMARY_STATE_UNCONFIGURED
        write_bundle(bundle, action=0.2 * FORWARD, objects=())
        assert bench.change(Transition.TRANSITION_CONFIGURE)
        assert bench.state == State.PRIMARY_STATE_INACTIVE
        assert not bench.sent
        assert children_of(node.process.pid)
        until(lambda: bench.change(Transition.TRANSITION_ACTIVATE), "the activation")  # refused before an observation
        assert bench.state == State.PRIMARY_STATE_ACTIVE
        until(lambda: bench.moves()[0] > 0, "movement")
        assert "cannot start while active" in bench.press("start")
        assert not bench.change(Transition.TRANSITION_CONFIGURE)  # there is no such way from here
        assert bench.state == State.PRIMARY_STATE_ACTIVE
        assert bench.change(Transition.TRANSITION_DEACTIVATE)
        bench.until_rest()
        count = len(bench.sent)
        # the buttons are the same transitions
        assert bench.press("start") == ""
        assert bench.state == State.PRIMARY_STATE_ACTIVE
        until(lambda: len(bench.sent) > count, "commands")
        assert bench.press("stop") == ""
        assert bench.state == State.PRIMARY_STATE_INACTIVE
        assert bench.change(Transition.TRANSITION_CLEANUP)
        assert bench.state == State.PRIMARY_STATE_UNCONFIGURED
        assert not children_of(node.process.pid)
        # and once more, to the end
        assert bench.change(Transition.TRANSITION_CONFIGURE)
        until(lambda: bench.change(Transition.TRANSITION_ACTIVATE), "the activation")
        bench.moves()
        assert bench.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert node.process.wait(20) == 0
        bench.until_rest()


def children_of(pid):
    """Inference processes that live."""
    # -ww: whole lines, however narrow COLUMNS may say that the terminal is
    words = ["ps", "-ww", "--ppid", str(pid), "-o", "args="]
    out = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return [line for line in out.splitlines() if "spawn_main" in line]


class Controller:
    """Stands for what is configured; its loop may have failed."""

    def __init__(self):
        self.loop, self.closed = SimpleNamespace(running=True, failure="broken"), False

    def start(self):
        return ""

    def stop(self):
        return ""

    def close(self):
        self.closed = True


@pytest.fixture
def managed(domain, monkeypatch):
    made = []
    monkeypatch.setattr(
        "robolearn.real.ros2.managed.make_controller", lambda *_, **__: made.append(Controller()) or made[-1]
    )
    rclpy.init(domain_id=domain)
    node = ManagedNode(DEFAULTS, threading.Event())
    node.made = made
    yield node
    node.destroy_node()
    rclpy.shutdown()


def test_a_node_that_is_destroyed_leaves_no_threads(domain):
    rclpy.init(domain_id=domain)
    before = threads()
    node = ManagedNode(DEFAULTS, threading.Event())
    assert threads() > before + 1
    node.destroy_node()
    until(lambda: threads() <= before + 1, "the end of its threads")  # one of DDS stays until rclpy is shut down
    rclpy.shutdown()


def threads():
    return len(os.listdir("/proc/self/task"))


@pytest.mark.parametrize("activated", [False, True])
def test_a_loop_that_failed_leads_through_error_processing_to_unconfigured(managed, activated):
    managed.trigger_configure()
    if activated:
        assert managed.activate() == ""
    managed.made[0].loop.running = False
    managed.abort()
    assert managed.refusal == "the control loop failed: broken"
    assert managed.made[0].closed
    assert (managed.controller, managed.active) == (None, False)
    assert "not configured" in managed.activate()
    assert managed.trigger_configure() == TransitionCallbackReturn.SUCCESS  # again


def test_an_emergency_stop_outlives_the_loop_that_failed(managed, monkeypatch):
    buttons = []
    monkeypatch.setattr(
        "robolearn.real.ros2.managed.make_controller", lambda *_, button, **__: buttons.append(button) or Controller()
    )
    managed.trigger_configure()
    buttons[0].latched, buttons[0].on_press = "pressed", list
    managed.controller.loop.running = False
    managed.abort()
    assert buttons[0].on_press is None  # nobody is there to obey
    managed.trigger_configure()
    assert buttons[1].latched == "pressed"


def test_an_arm_that_does_not_come_to_rest_stays_active(managed):
    managed.trigger_configure()
    managed.trigger_activate()
    managed.made[0].stop = lambda: "the control loop did not answer"
    assert managed.deactivate() == "the control loop did not answer"
    assert managed.active
    managed.made[0].stop = lambda: ""
    assert managed.deactivate() == ""
    assert not managed.active


def test_a_failure_while_configuring_is_no_mistake_of_the_user_and_leaves_nothing(managed, monkeypatch):
    def failing(node, *_, **__):
        node.create_publisher(String, "something", 1)
        raise OSError("out of memory")

    monkeypatch.setattr("robolearn.real.ros2.managed.make_controller", failing)
    assert managed.trigger_configure() == TransitionCallbackReturn.ERROR
    assert managed.refusal == "out of memory"
    until(lambda: managed.count_publishers("/something") == 0, "the end of its publisher")
    assert isinstance(managed.failure, OSError)


def test_a_policy_acts_on_pictures_and_holds_while_the_camera_stands_still(bench, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", action=np.zeros(5), objects=(), camera=(12, 16))
    with running(bench, tmp_path, bundle, camera_stale_after=0.5, ramp=0.2):
        until(lambda: bench.press("start") == "", "the start")
        assert np.abs(bench.moves()).max() < 1e-3  # it is dark
        bench.brightness = 128
        until(lambda: bench.moves()[0] > 1e-3, "movement towards the light")
        bench.seeing = False
        until(lambda: "hold" in (tmp_path / "node.txt").read_text(), "the hold")
        bench.until_rest()
        count = len(bench.sent)
        bench.seeing = True
        until(lambda: len(bench.sent) > count + 50, "commands again")
        bench.press("stop")


def test_a_trajectory_is_published_under_the_driver_s_names_and_rivals_are_found_there(bench, tmp_path):
    bundle, seen = write_bundle(tmp_path / "bundle", action=0.2 * FORWARD, objects=()), []
    topic = "/arm_controller/joint_trajectory"

    def follow(message):
        seen.append(message)
        # an arm that stands still is a fault too
        bench.sent.append(np.append(message.points[-1].positions, bench.plant.pose[-1]))

    bench.node.create_subscription(JointTrajectory, topic, follow, 1000)
    bench.names = [name.replace("panda", "fr3") for name in bench.names]
    names = ",".join(f"{ours}={ours.replace('panda', 'fr3')}" for ours in bench.plant.robot.joint_names)
    names += ",panda_finger_joint1=fr3_finger_joint1,panda_finger_joint2=fr3_finger_joint2"
    with running(bench, tmp_path, bundle, output="joint_trajectory", command_topic=topic, joint_names=names):
        until(lambda: bench.press("start") == "", "the start")
        until(lambda: len(seen) > 50, "trajectories")
        assert list(seen[0].joint_names) == bench.names[:7]
        until(lambda: len(seen[-1].points) == 2, "movement")
        rival = bench.node.create_publisher(JointTrajectory, topic, 1)
        until(lambda: "another node" in (tmp_path / "node.txt").read_text(), "the fault")
        until(lambda: len(seen[-1].points) == 1, "standstill")
        bench.node.destroy_publisher(rival)
        assert bench.press("stop") == ""


def test_an_instruction_comes_by_topic(bench, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", action=np.zeros(5), objects=())
    with running(bench, tmp_path, bundle, instruction_at_once="true") as node:
        until(lambda: bench.press("start") == "", "the start")
        publisher = bench.node.create_publisher(String, "/policy_controller/task_instruction", 1)
        until(lambda: publisher.get_subscription_count() > 0, "the topic")
        publisher.publish(String(data="stack the cubes"))

        def told():
            return bench.call(GetParameters, "get_parameters", names=["instruction"]).values[0].string_value

        until(lambda: told() == "stack the cubes", "the parameter")
        until(lambda: "reads no instruction" in (tmp_path / "node.txt").read_text(), "the warning")
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(20) == 0
