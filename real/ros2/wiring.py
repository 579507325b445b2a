"""How a robot's drivers are wired to the node: names of topics and joints, units of the gripper. Plain data, no ROS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Self

from robolearn.errors import UserError, nearest
from robolearn.real.offer import camera_topic
from robolearn.robot import RobotSpec

JOINT_STATES = "/joint_states"
OUTPUTS = ("commands", "joint_trajectory", "joint_state", "twist")  # what may be sent to the arm's controller
GRIPPER_COMMANDS = "~/gripper_commands"
FITS = ("stretch", "crop")


@dataclass(frozen=True)
class Gripper:
    """A gripper's joint in its driver's units, whatever they are, which go linearly with the width.

    Attributes:
        joint: name on the driver's joint states.
        closed: position at which the fingers touch.
        open: position at which they are `RobotSpec.gripper_width` apart.
    """

    joint: str
    closed: float
    open: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read JOINT:CLOSED:OPEN.

        Raises:
            UserError: it is none.
        """
        joint, _, numbers = text.partition(":")
        try:
            closed, opened = map(float, numbers.split(":"))
        except ValueError as error:
            raise UserError(f"gripper '{text}' is not JOINT:CLOSED:OPEN, e.g. gripper_joint:0.8:0") from error
        if not joint or closed == opened or not (isfinite(closed) and isfinite(opened)):
            raise UserError(f"gripper '{text}' needs a joint and two different, finite positions")
        return cls(joint, closed, opened)

    def width(self, position: float, widest: float) -> float:
        """Width in m of a position of the driver."""
        return widest * (position - self.closed) / (self.open - self.closed)

    def position(self, width: float, widest: float) -> float:
        """Position of the driver at a width in m."""
        return self.closed + width / widest * (self.open - self.closed)


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """Topics, names and units of the drivers.

    Attributes:
        output: one of `OUTPUTS`: std_msgs/Float64MultiArray, trajectory_msgs/JointTrajectory, sensor_msgs/JointState or
            geometry_msgs/TwistStamped.
        command_topic: where it goes.
        gripper_topic: where the gripper's width goes, std_msgs/Float64MultiArray; "" only of `commands`: after the
            joints, in the same message.
        joint_names: the driver's name of each joint that it names otherwise than the robot.
        gripper: the gripper's joint and units, or None where its driver publishes the robot's own finger joints in m.
        joint_states: topic of the arm's joint states.
        gripper_states: topic of the gripper's; "" where they are in the arm's own messages.
        cameras: topic by camera; `robolearn.real.offer.camera_topic` of the others.
        camera_fit: "stretch", as datasets are read, or "crop" to the middle part of the policy's proportions first, as
            a simulated camera of the same vertical field of view sees.
        wrench: topic of a geometry_msgs/WrenchStamped, or "".
        base_frame: of the twist.
    """

    output: str = "commands"
    command_topic: str = "~/commands"
    gripper_topic: str = ""
    joint_names: Mapping[str, str] = field(default_factory=dict)
    gripper: Gripper | None = None
    joint_states: str = JOINT_STATES
    gripper_states: str = ""
    cameras: Mapping[str, str] = field(default_factory=dict)
    camera_fit: str = "stretch"
    wrench: str = ""
    base_frame: str = "base"

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Self:
        """Read the node's options of these names, which are texts.

        Raises:
            UserError: one of them makes no sense.
        """
        output = one_of("output", options["output"], OUTPUTS)
        gripper_topic = options["gripper_topic"]
        if output != "commands":
            gripper_topic = gripper_topic or GRIPPER_COMMANDS
        return cls(
            output=output,
            command_topic=options["command_topic"] or f"~/{output}",
            gripper_topic=gripper_topic,
            joint_names=pairs("joint_names", options["joint_names"]),
            gripper=Gripper.parse(options["gripper"]) if options["gripper"] else None,
            joint_states=options["joint_states"],
            gripper_states=options["gripper_states"],
            cameras=pairs("camera_topics", options["camera_topics"]),
            camera_fit=one_of("camera_fit", options["camera_fit"], FITS),
            wrench=options["wrench"],
            base_frame=options["base_frame"],
        )

    def require_robot(self, robot: RobotSpec, cameras: Iterable[str]) -> None:
        """Check that joints and cameras of these names exist.

        Raises:
            UserError: naming one that does not.
        """
        _require_known("joint_names", self.joint_names, [*robot.joint_names, *robot.gripper_joints])
        _require_known("camera_topics", self.cameras, list(cameras))

    def arm_joints(self, robot: RobotSpec) -> list[str]:
        """The driver's names of the arm's joints, in the robot's order."""
        return [self.joint_names.get(name, name) for name in robot.joint_names]

    def finger_joints(self, robot: RobotSpec) -> list[str]:
        """The driver's names of what says how wide the gripper is."""
        if self.gripper is not None:
            return [self.gripper.joint]
        return [self.joint_names.get(name, name) for name in robot.gripper_joints]

    def named_by_robot(self, driver_names: Iterable[str], robot: RobotSpec) -> list[str]:
        """The robot's names of the driver's joints; the gripper's one joint counts as all of the robot's fingers."""
        robots = {driver: name for name, driver in self.joint_names.items()}
        names = [robots.get(name, name) for name in driver_names]
        if self.gripper is not None and self.gripper.joint in names:
            names += robot.gripper_joints
        return names

    def width(self, fingers: Any, robot: RobotSpec) -> float:
        """Width in m of the positions of `finger_joints`."""
        return float(fingers.sum()) if self.gripper is None else self.gripper.width(fingers[0], robot.gripper_width)

    def gripper_position(self, width: float, robot: RobotSpec) -> float:
        """What the gripper's driver is told for a width in m."""
        return width if self.gripper is None else self.gripper.position(width, robot.gripper_width)

    def camera_topic(self, camera: str) -> str:
        """Topic of a camera's pictures."""
        return self.cameras.get(camera, camera_topic(camera))


def _require_known(option: str, given: Iterable[str], names: list[str]) -> None:
    if unknown := [name for name in given if name not in names]:
        raise UserError(f"{option}: the bundle has no '{unknown[0]}'{nearest(unknown[0], names)}")


def one_of(option: str, value: str, values: tuple[str, ...]) -> str:
    """Return a value that must be one of some.

    Raises:
        UserError: it is none of them.
    """
    if value not in values:
        raise UserError(f"{option} is '{value}'{nearest(value, values)}")
    return value


def pairs(option: str, text: str) -> dict[str, str]:
    """Read NAME=NAME,NAME=NAME.

    Raises:
        UserError: it is none, or a name is there twice on one side.
    """
    result: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        ours, equals, theirs = (piece.strip() for piece in part.partition("="))
        if not (ours and equals and theirs):
            raise UserError(f"{option}: '{part}' is not NAME=NAME")
        if ours in result or theirs in result.values():
            raise UserError(f"{option}: '{ours if ours in result else theirs}' is given twice")
        result[ours] = theirs
    return result
