"""The control node's parts, without processes and without ROS 2's network."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from robolearn.errors import UserError
from robolearn.real.ros2 import node
from robolearn.real.ros2.policy_controller import OPTIONS

pytestmark = pytest.mark.ros
OPTIONS_GIVEN = {name: default for name, (default, _) in OPTIONS.items()} | {"record": "all"}


class Process:
    """In place of inference or recorder."""

    def __init__(self):
        self.closed = False

    def start(self):
        pass

    def close(self):
        self.closed = True


@pytest.mark.parametrize("part", ["Controller", "ControlLoop", "EmergencyStop"])
def test_where_the_control_loop_cannot_begin_no_process_stays(monkeypatch, part):
    def failing(*_, **__):
        raise UserError("the rate is below the policy's")

    worker, recorder = Process(), Process()
    replaced = {"InferenceWorker": worker, "_start_recorder": recorder}
    for name in ("Takeover", "Led", "Person", "Controller", "ControlLoop", "EmergencyStop", "collision_check"):
        replaced[name] = SimpleNamespace()
    for name, stand_in in replaced.items():
        monkeypatch.setattr(node, name, lambda *_, stand_in=stand_in, **__: stand_in)
    monkeypatch.setattr(node, part, failing)
    kinds = ("publisher", "subscription", "service", "timer")
    ros = SimpleNamespace(**{f"create_{kind}": lambda *_, **__: None for kind in kinds})
    schema = SimpleNamespace(action=None)
    bundle = SimpleNamespace(robot=None, collision=None, path="", action_space=None, schema=schema)
    robot = SimpleNamespace(alarms=lambda _: ())
    with pytest.raises(UserError, match="the rate"):
        node.PolicyController(ros, bundle=bundle, robot=robot, options=OPTIONS_GIVEN, button=None)
    assert worker.closed
    assert recorder.closed
