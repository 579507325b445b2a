"""What of a driver's messages counts; with ROS 2's messages, without its network."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from bundle_factory import make_schema
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState

from robolearn.real.ros2.robot_io import RosRobot
from robolearn.sim.robots import get_robot

pytestmark = pytest.mark.ros
ROBOT = get_robot("panda")
NAMES = [*ROBOT.joint_names, *ROBOT.gripper_joints]
HOME = [*ROBOT.home, 0.03, 0.03]


class Node:
    """Hands over what is published without a network."""

    def __init__(self):
        self.listeners, self.timers, self.publishers = {}, [], 1

    def create_publisher(self, kind, topic, qos):
        return SimpleNamespace(topic_name="commands", publish=lambda message: None)

    def create_subscription(self, kind, topic, callback, qos):
        self.listeners[topic] = callback

    def create_timer(self, period, callback):
        self.timers.append(callback)

    def count_publishers(self, topic):
        return self.publishers

    def joints(self, names=NAMES, position=HOME, nanosec=0):
        message = JointState(name=list(names), position=list(position))
        message.header.stamp.nanosec = nanosec
        self.listeners["/joint_states"](message)

    def pose(self, x=0.5, quat=(1.0, 0.0, 0.0, 0.0)):
        message = PoseStamped()
        message.pose.position.x = x
        q = message.pose.orientation
        q.w, q.x, q.y, q.z = quat
        self.listeners["/objects/cube/pose"](message)


@pytest.fixture
def node():
    return Node()


@pytest.fixture
def robot(node):
    return RosRobot(node, schema=make_schema(ROBOT), robot=ROBOT)


def test_a_whole_observation_is_read(node, robot):
    node.joints()
    assert robot.age() is None
    node.pose()
    observation, age = robot.read()
    assert 0.0 <= age < 10.0
    np.testing.assert_allclose(observation["observation.state"][:8], [*ROBOT.home, 0.06], atol=1e-6)
    np.testing.assert_allclose(observation["observation.environment_state"][0], 0.5)
    make_schema(ROBOT).select(tuple(observation)).validate(observation)


@pytest.mark.parametrize(
    ("names", "position"),
    [
        (NAMES[-2:], HOME[-2:]),
        (NAMES[:-2], HOME[:-2]),
        (NAMES, []),
        (NAMES, HOME[:-1]),
        (NAMES, [np.nan, *HOME[1:]]),
        (NAMES, [*HOME[:-1], np.inf]),
        ([], []),
    ],
    ids=["gripper", "arm", "empty", "short", "nan", "inf", "nothing"],
)
def test_a_message_that_is_not_whole_counts_as_not_received(node, robot, names, position):
    node.pose()
    node.joints(names, position)
    assert robot.read() is None
    node.joints()
    kept = robot._joints.newest._kept
    node.joints(names, position)
    assert robot._joints.newest._kept is kept  # which grows old
    node.joints(position=[0.1, *HOME[1:]])
    assert robot.read()[0]["observation.state"][0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "pose",
    [{"x": np.nan}, {"quat": (np.nan, 0.0, 0.0, 0.0)}, {"quat": (0.0, 0.0, 0.0, 0.0)}, {"quat": (1.1, 0.0, 0.0, 0.0)}],
)
def test_a_pose_that_is_none_counts_as_not_received(node, robot, pose):
    node.joints()
    node.pose(**pose)
    assert robot.read() is None
    node.pose()
    node.pose(**pose)
    np.testing.assert_allclose(robot.read()[0]["observation.environment_state"][0], 0.5)


def test_an_orientation_that_is_nearly_one_is_made_one(node, robot):
    node.joints()
    node.pose(quat=(0.99, 0.0, 0.0, 0.0))
    np.testing.assert_allclose(robot.read()[0]["observation.environment_state"][3:], (1, 0, 0, 0, 1, 0), atol=1e-6)


def test_a_sample_that_is_published_again_does_not_count(node, robot):
    node.pose()
    node.joints(nanosec=5)
    node.joints(position=[0.1, *HOME[1:]], nanosec=5)
    assert robot.read()[0]["observation.state"][0] == pytest.approx(HOME[0])
    node.joints(position=[0.1, *HOME[1:]], nanosec=6)
    assert robot.read()[0]["observation.state"][0] == pytest.approx(0.1)


def test_another_node_that_commands_the_arm_is_found_at_any_time(node, robot):
    found = []
    robot.watch_rivals(lambda: found.append(robot.rivals))
    (look,) = node.timers
    look()
    node.publishers = 2
    look()
    look()
    node.publishers = 0  # our own is not discovered yet
    look()
    assert found == [1, 1]
