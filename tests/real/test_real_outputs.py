"""Commands in the formats of ROS 2's controllers, without its network."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from test_real_controller import PERIOD, Bench

from robolearn.real.ros2.outputs import joint_trajectory, make_writer
from robolearn.real.ros2.wiring import GRIPPER_COMMANDS, OUTPUTS, Gripper, Wiring
from robolearn.real.starting import SETTLING
from robolearn.real.state_machine import Event
from robolearn.sim.robots import get_robot

pytestmark = pytest.mark.ros
ROBOT = get_robot("panda")
NAMES = {f"panda_joint{i}": f"fr3_joint{i}" for i in range(1, 8)}


class Node:
    """Keeps what is published, by topic."""

    def __init__(self):
        self.sent = {}

    def create_publisher(self, kind, topic, qos):
        messages = self.sent.setdefault(topic, [])
        return SimpleNamespace(topic_name=topic, publish=messages.append)

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: Time(sec=3)))


class Sending:
    """The controller's toy arm, which also sends in a ROS 2 format."""

    def __init__(self, output, **wiring):
        self.node = Node()
        topics = {} if output == "commands" else {"gripper_topic": GRIPPER_COMMANDS}
        self.wiring = Wiring(output=output, command_topic="arm", **topics, **wiring)
        self.writer = make_writer(self.node, robot=ROBOT, wiring=self.wiring, period=PERIOD)
        self.bench = Bench()
        write = self.bench.arm.write
        self.bench.arm.write = lambda position: (write(position), self.writer.send(position))

    @property
    def arm(self):
        return self.node.sent["arm"]

    def move_and_stop(self, periods=150):
        self.bench.start().run(periods)
        future = self.bench.ask(Event.STOP)
        self.bench.run(100)
        assert future == "" or future.result(0) == ""
        return np.stack(self.bench.arm.sent)


def positions(message):
    return np.array(message.points[0].positions) if hasattr(message, "points") else np.array(message.position)


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_period_has_one_message_and_the_last_says_standstill(output):
    sending = Sending(output)
    path = sending.move_and_stop()
    assert len(sending.arm) == len(path)
    last = sending.arm[-1]
    if output == "commands":
        assert np.array_equal(last.data, path[-1])
        assert np.array_equal(sending.arm[-2].data, last.data)
    elif output == "twist":
        twist = last.twist
        assert (twist.linear.x, twist.linear.y, twist.linear.z) == (0.0, 0.0, 0.0)
        assert (twist.angular.x, twist.angular.y, twist.angular.z) == (0.0, 0.0, 0.0)
        assert abs(sending.arm[100].twist.linear.x) > 0.05
    elif output == "joint_trajectory":
        (point,) = last.points
        assert not np.any(point.velocities)
        np.testing.assert_array_equal(point.positions, path[-1, :-1])
    else:
        assert not np.any(last.velocity)
        np.testing.assert_array_equal(last.position, path[-1, :-1])
    if output != "commands":
        # joint_trajectory_controller refuses a trajectory that ends before it arrives; 0 is "from now on"
        assert last.header.stamp.sec == (0 if output == "joint_trajectory" else 3)
        assert [message.data[0] for message in sending.node.sent[GRIPPER_COMMANDS]] == path[:, -1].tolist()


@pytest.mark.parametrize("output", ["joint_trajectory", "joint_state"])
def test_joints_have_the_driver_s_names_and_the_filter_s_velocities(output):
    sending = Sending(output, joint_names=NAMES)
    path = sending.move_and_stop()
    message = sending.arm[100]
    names = message.joint_names if output == "joint_trajectory" else message.name
    assert list(names) == [f"fr3_joint{i}" for i in range(1, 8)]
    velocity = message.points[0].velocities if output == "joint_trajectory" else message.velocity
    np.testing.assert_allclose(velocity, (path[100] - path[99])[:-1] / PERIOD, atol=1e-12)
    assert np.abs(velocity).max() > 0.01


def test_the_tool_moves_as_the_twist_says():
    sending = Sending("twist", base_frame="panda_link0")
    path = sending.move_and_stop()
    tools = [ROBOT.chain.forward(position[:-1]).tool_pos for position in path]
    said = np.array([(m.twist.linear.x, m.twist.linear.y, m.twist.linear.z) for m in sending.arm])
    np.testing.assert_allclose(said[50:150], np.diff(tools, axis=0)[49:149] / PERIOD, atol=2e-3)
    assert np.abs(said[50:150]).max() > 0.1
    assert sending.arm[0].header.frame_id == "panda_link0"


@pytest.mark.parametrize("output", ["joint_trajectory", "joint_state", "twist"])
def test_an_arm_that_was_moved_between_two_motions_does_not_jump(output):
    sending = Sending(output)
    sending.move_and_stop()
    before = len(sending.arm)
    sending.bench.run(round(SETTLING / PERIOD))  # it has come to rest
    sending.bench.arm.pose[0] += 0.4
    sending.move_and_stop()
    first = sending.arm[before]
    if output == "twist":
        assert (first.twist.linear.x, first.twist.angular.z) == (0.0, 0.0)
    else:
        velocity = first.points[0].velocities if output == "joint_trajectory" else first.velocity
        assert not np.any(velocity)
        np.testing.assert_allclose(positions(first)[0], positions(sending.arm[before - 1])[0] + 0.4, atol=1e-6)


JOINTS = st.tuples(*(st.floats(low - 0.05, high + 0.05) for low, high in zip(ROBOT.lower, ROBOT.upper, strict=True)))
SPEEDS = st.tuples(*(st.floats(-fast, fast) for fast in ROBOT.max_velocity))


@given(JOINTS, SPEEDS)
def test_each_trajectory_ends_at_rest_within_limits_and_brakes_no_harder_than_allowed(position, velocity):
    position, velocity = np.array(position), np.array(velocity)
    message = joint_trajectory(position, velocity, robot=ROBOT, wiring=Wiring(), period=PERIOD)
    end = message.points[-1]
    assert not np.any(end.velocities)
    lower, upper = np.minimum(ROBOT.lower, position), np.maximum(ROBOT.upper, position)
    assert ((lower <= end.positions) & (end.positions <= upper)).all()
    times = [point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec for point in message.points]
    assert times[0] == pytest.approx(PERIOD)
    if len(message.points) == 2:
        # constant deceleration: v / t, unless the limit comes first
        assert (np.abs(velocity) <= np.array(ROBOT.max_acceleration) * (times[1] - times[0]) * (1 + 1e-6) + 1e-6).all()
        free = (lower < end.positions) & (end.positions < upper)
        way = velocity * (times[1] - times[0]) / 2
        np.testing.assert_allclose((np.array(end.positions) - position)[free], way[free], atol=1e-6)


@pytest.mark.parametrize("speed", [1e-12, 1e-9, 1e-3])
def test_the_times_of_a_trajectory_increase_however_slow_it_is(speed):
    velocity = np.full(ROBOT.n_joints, speed)
    message = joint_trajectory(np.array(ROBOT.home), velocity, robot=ROBOT, wiring=Wiring(), period=PERIOD)
    first, second = (point.time_from_start for point in message.points)
    assert (first.sec, first.nanosec) < (second.sec, second.nanosec)


def test_the_gripper_has_its_driver_s_units_and_a_topic_of_its_own():
    sending = Sending("commands", gripper_topic="gripper", gripper=Gripper("knuckle", closed=0.8, open=0.0))
    path = sending.move_and_stop()
    assert len(sending.arm[0].data) == ROBOT.n_joints
    said = [message.data[0] for message in sending.node.sent["gripper"]]
    np.testing.assert_allclose(said, 0.8 * (1.0 - path[:, -1] / ROBOT.gripper_width), atol=1e-12)
    assert {publisher.topic_name for publisher in sending.writer.publishers} == {"arm", "gripper"}
