"""What the control node passes on, with a recorder and a loop that are none."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

pytest.importorskip("rclpy")

from robolearn.real.ros2.node import PolicyController
from robolearn.real.state_machine import State

pytestmark = pytest.mark.ros


def make_node(**parts):
    node = PolicyController.__new__(PolicyController)
    node._node = Mock()
    node.__dict__ |= parts
    return node


@pytest.mark.parametrize("state", State)
def test_a_start_that_is_refused_tells_the_policy_nothing(state, monkeypatch):
    monkeypatch.setattr("robolearn.real.ros2.node.outcome", lambda *_: "cannot start")
    controller = Mock(machine=SimpleNamespace(state=state))
    node = make_node(controller=controller, _robot=SimpleNamespace(rivals=0), _instruct=Mock())
    assert node.start() == "cannot start"
    assert node._instruct.called is (state is State.READY)


def test_a_verdict_that_is_lost_is_answered_and_logged():
    recorder = Mock()
    node = make_node(_recorder=recorder)
    recorder.judge.return_value = ""
    assert not node._on_verdict(True)
    recorder.judge.return_value = "nothing was recorded"
    assert node._on_verdict(True) == "nothing was recorded"
    node._node.get_logger().warning.assert_called_once()
