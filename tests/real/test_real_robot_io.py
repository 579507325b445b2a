"""What of a driver's messages counts; with ROS 2's messages, without its network."""

import io
from array import array
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from bundle_factory import CAMERA, make_schema
from geometry_msgs.msg import PoseStamped, WrenchStamped
from PIL import Image as PilImage
from sensor_msgs.msg import CompressedImage, Image, JointState

from robolearn.real.ros2.robot_io import RosRobot
from robolearn.real.ros2.wiring import Gripper, Wiring
from robolearn.real.settings import Settings
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

    def joints(self, names=NAMES, position=HOME, nanosec=0, effort=(), topic="/joint_states"):
        message = JointState(name=list(names), position=list(position), effort=list(effort))
        message.header.stamp.nanosec = nanosec
        self.listeners[topic](message)

    def picture(self, pixels, encoding="rgb8", nanosec=0, topic="/cameras/wrist/image_raw"):
        height, width, channels = pixels.shape
        message = Image(height=height, width=width, encoding=encoding, step=width * channels)
        message.data = array("B", pixels.tobytes())
        message.header.stamp.nanosec = nanosec
        self.listeners[topic](message)

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


PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


class Clock:
    """Our clocks, which stand still."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        for name in ("monotonic", "time"):
            monkeypatch.setattr(f"time.{name}", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def seeing(node, *, size=(24, 32), settings=None, **wiring):
    schema = make_schema(ROBOT, camera=size)
    robot = RosRobot(node, schema=schema, robot=ROBOT, wiring=Wiring(**wiring), settings=settings)
    node.joints()
    node.pose()
    return robot


def test_an_observation_is_whole_with_its_pictures_only(node):
    robot = seeing(node)
    assert robot.read() is None
    node.picture(PIXELS)
    observation, _ = robot.read()
    assert observation[CAMERA].dtype == np.uint8
    np.testing.assert_array_equal(observation[CAMERA], PIXELS)
    robot.schema.select(tuple(observation)).validate(observation)


def test_pictures_of_other_sizes_are_stretched_or_cropped(node):
    wide = np.zeros((24, 48, 3), np.uint8)
    wide[:, 12:36] = 255  # the middle square
    for fitted, expected in (("stretch", 0.5), ("crop", 1.0)):
        robot = seeing(node, size=(12, 12), camera_fit=fitted)
        node.picture(wide)
        picture = robot.read()[0][CAMERA]
        assert picture.shape == (12, 12, 3)
        assert picture.mean() / 255 == pytest.approx(expected, abs=0.02)


def test_a_compressed_picture_is_known_by_its_topic(node):
    robot = seeing(node, cameras={"wrist": "/wrist/image_raw/compressed"})
    buffer = io.BytesIO()
    PilImage.fromarray(PIXELS).save(buffer, "PNG")
    for data, whole in ((buffer.getvalue()[:50], False), (buffer.getvalue(), True), (b"", True)):
        node.listeners["/wrist/image_raw/compressed"](CompressedImage(format="png", data=array("B", data)))
        assert (robot.read() is not None) is whole  # the last one is left aside
    np.testing.assert_array_equal(robot.read()[0][CAMERA], PIXELS)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda message: setattr(message, "encoding", "16UC1"),
        lambda message: setattr(message, "height", 1000),
        lambda message: setattr(message, "step", 3),
        lambda message: setattr(message, "height", 0),
    ],
    ids=["depth", "short", "step", "empty"],
)
def test_a_picture_that_is_none_counts_as_not_received(node, spoil):
    robot = seeing(node)
    take = node.listeners["/cameras/wrist/image_raw"]
    node.listeners["/cameras/wrist/image_raw"] = lambda message: (spoil(message), take(message))
    node.picture(PIXELS)
    assert robot.read() is None


def test_a_camera_may_be_slower_than_joint_states_but_not_stand_still(node, clock):
    robot = seeing(node, settings=Settings(camera_stale_after=0.2))
    node.picture(PIXELS, nanosec=5)
    clock.now += 0.15
    node.joints()
    node.pose()
    assert robot.age() == 0.0
    assert robot.ages()["camera_wrist"] == pytest.approx(0.15)
    clock.now += 0.1
    node.joints()
    node.pose()
    node.picture(PIXELS, nanosec=5)  # the same again
    assert robot.age() == pytest.approx(0.25)
    node.picture(PIXELS, nanosec=6)
    assert robot.age() == 0.0


def test_a_gripper_with_a_driver_of_its_own_and_its_own_units(node, clock):
    names = [f"fr3_joint{i}" for i in range(1, 8)]
    robot = RosRobot(
        node,
        schema=make_schema(ROBOT),
        robot=ROBOT,
        wiring=Wiring(
            joint_names=dict(zip(ROBOT.joint_names, names, strict=True)),
            gripper=Gripper("knuckle", closed=0.8, open=0.0),
            gripper_states="/gripper/joint_states",
        ),
    )
    node.pose()
    node.joints(names, HOME[:-2], effort=range(7))
    assert robot.read() is None
    node.joints(["other", "knuckle"], [9.0, 0.2], topic="/gripper/joint_states")
    state = robot.read()[0]["observation.state"]
    np.testing.assert_allclose(state[:7], ROBOT.home, atol=1e-6)
    assert state[7] == pytest.approx(0.75 * ROBOT.gripper_width)
    clock.now += 0.1
    node.pose()
    node.joints(names, HOME[:-2], effort=range(7))
    assert robot.age() == 0.0  # slower is well
    effort, age = robot.effort
    np.testing.assert_array_equal(effort, range(7))
    assert age == 0.0


def test_effort_and_wrench_are_offered_with_their_age(node, clock):
    robot = RosRobot(node, schema=make_schema(ROBOT), robot=ROBOT, wiring=Wiring(wrench="/wrench"))
    assert robot.effort is None
    assert robot.wrench is None
    node.joints()
    assert robot.effort is None  # a driver without effort
    message = WrenchStamped()
    message.wrench.force.z, message.wrench.torque.x = 5.0, -1.0
    node.listeners["/wrench"](message)
    message = WrenchStamped()
    message.wrench.force.z = np.nan
    node.listeners["/wrench"](message)
    clock.now += 0.25
    wrench, age = robot.wrench
    np.testing.assert_array_equal(wrench, (0, 0, 5, -1, 0, 0))
    assert age == pytest.approx(0.25)
