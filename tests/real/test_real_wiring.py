"""How drivers are wired to the node, and what of that makes no sense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.real.ros2.policy_controller import OPTIONS, parser
from robolearn.real.ros2.wiring import Gripper, Wiring
from robolearn.sim.robots import get_robot

ROBOT = get_robot("panda")
DEFAULTS = {name: default for name, (default, _) in OPTIONS.items()}


def parse(**options):
    return Wiring.parse(DEFAULTS | options)


def test_the_defaults_of_options_and_of_the_wiring_are_the_same():
    assert parse() == Wiring()
    assert Wiring().camera_topic("wrist") == "/cameras/wrist/image_raw"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "joint_trajectroy"}, "did you mean 'joint_trajectory'"),
        ({"camera_fit": "pad"}, "camera_fit is 'pad'"),
        ({"joint_names": "a"}, "'a' is not NAME=NAME"),
        ({"joint_names": "a=b,a=c"}, "'a' is given twice"),
        ({"joint_names": "a=c,b=c"}, "'c' is given twice"),
        ({"camera_topics": "wrist="}, "camera_topics"),
        ({"gripper": "knuckle"}, "JOINT:CLOSED:OPEN"),
        ({"gripper": "knuckle:0.8:0.8"}, "two different"),
        ({"gripper": "knuckle:0.8:nan"}, "finite"),
        ({"gripper": ":0.8:0"}, "needs a joint"),
    ],
)
def test_an_option_that_makes_no_sense_is_told(options, message):
    with pytest.raises(UserError, match=message):
        parse(**options)


def test_joints_and_cameras_that_the_bundle_lacks_are_named():
    parse(joint_names="panda_joint1=fr3_joint1", camera_topics="wrist=/w").require_robot(ROBOT, ["wrist"])
    with pytest.raises(UserError, match=r"joint_names.*did you mean 'panda_joint1'"):
        parse(joint_names="panda_join1=x").require_robot(ROBOT, [])
    with pytest.raises(UserError, match=r"camera_topics.*'wrist'"):
        parse(camera_topics="wrist=/w").require_robot(ROBOT, [])


def test_names_go_both_ways():
    wiring = parse(joint_names="panda_joint1=one, panda_finger_joint1=left", gripper_states="/gripper/joint_states")
    driver = [*wiring.arm_joints(ROBOT), *wiring.finger_joints(ROBOT)]
    assert driver[:2] == ["one", "panda_joint2"]
    assert driver[-2:] == ["left", "panda_finger_joint2"]
    assert wiring.named_by_robot(driver, ROBOT) == [*ROBOT.joint_names, *ROBOT.gripper_joints]
    one = parse(gripper="knuckle:0.8:0")
    assert one.finger_joints(ROBOT) == ["knuckle"]
    assert set(one.named_by_robot(["knuckle"], ROBOT)) == {"knuckle", *ROBOT.gripper_joints}


SPANS = st.floats(-100, 100)


@given(SPANS, SPANS.filter(lambda x: abs(x) > 1e-3), st.floats(0.0, 0.08))
def test_widths_go_to_the_driver_and_back(closed, span, width):
    gripper = Gripper("g", closed, closed + span)
    assert gripper.width(gripper.position(width, 0.08), 0.08) == pytest.approx(width, abs=1e-9)
    assert gripper.position(0.0, 0.08) == closed
    assert gripper.position(0.08, 0.08) == pytest.approx(closed + span)


def test_truth_is_written_as_in_ros(capsys):
    assert parser().parse_args(["--autostart", "false"]).autostart is False
    assert parser().parse_args([]).autostart is True
    with pytest.raises(SystemExit):
        parser().parse_args(["--autostart", "no"])
    assert "true or false" in capsys.readouterr().err
