"""An arm behind LeRobot's `Robot` interface as `robolearn.real.interfaces.Robot`: no ROS.

LeRobot's arms give and take a flat dictionary: `<motor>.pos` in degrees, or in per cent of a range, and pictures by the
camera's name. Nothing of LeRobot is imported here.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, pi
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.pictures import fit
from robolearn.proprioception import proprioception
from robolearn.real.contact import ContactStop
from robolearn.real.jump_watch import JumpWatch
from robolearn.real.offer import STATE, cameras_of
from robolearn.real.watchdog import Alarm
from robolearn.robot import RobotSpec
from robolearn.safety_settings import SafetySettings
from robolearn.schema import Schema

log = logging.getLogger(__name__)
Array = NDArray[np.float64]
DEGREE = pi / 180.0
PAUSE = 0.002  # s between two readings, for who needs the bus or Python's lock besides


class Arm(Protocol):
    """What is used of `lerobot.robots.Robot`."""

    @property
    def observation_features(self) -> dict[str, Any]:
        """Type of each value, shape of each picture."""

    def get_observation(self) -> dict[str, Any]:
        """Values of `<motor>.pos` and pictures."""

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Set goals of `<motor>.pos`."""


@dataclass(frozen=True)
class Motor:
    """A motor in LeRobot's units u, which go linearly with ours: rad = scale u + offset, or m of the gripper.

    Attributes:
        name: LeRobot's.
        scale: rad or m per unit, negative where the motor turns the other way.
        offset: rad or m where the motor is at 0.
    """

    name: str
    scale: float = DEGREE
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (isfinite(self.scale) and isfinite(self.offset)) or self.scale == 0:
            raise UserError(f"motor '{self.name}' needs a finite scale other than 0, and a finite offset")

    @property
    def key(self) -> str:
        """Its entry in observations and actions."""
        return f"{self.name}.pos"


@dataclass(frozen=True)
class Calibration:
    """The motor of each joint, and of the gripper's width, in the robot's order."""

    motors: tuple[Motor, ...]

    @classmethod
    def of(cls, robot: RobotSpec) -> Self:
        """The usual one: motors have the joints' names and give degrees; the gripper gives per cent of its opening.

        So LeRobot's followers do, once calibrated with each joint's middle as its zero.
        """
        gripper = Motor("gripper", robot.gripper_width / 100.0)
        return cls((*(Motor(name) for name in robot.joint_names), gripper))

    @classmethod
    def load(cls, path: Path, robot: RobotSpec) -> Self:
        """Read JSON {JOINT: {"name", "scale", "offset"}}, "gripper_width" included; what is left out is as usual.

        Raises:
            UserError: it is none, or for joints that the robot has not.
        """
        names = (*robot.joint_names, "gripper_width")
        usual = dict(zip(names, cls.of(robot).motors, strict=True))
        try:
            given = json.loads(path.read_text())
            if unknown := [name for name in given if name not in usual]:
                raise ValueError(f"there is no joint '{unknown[0]}' among {', '.join(names)}")
            chosen = {name: Motor(**{**vars(usual[name]), **values}) for name, values in given.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is no calibration: {error}") from error
        return cls(tuple((usual | chosen).values()))

    def to_robot(self, observation: Mapping[str, Any]) -> Array:
        """Joint angles in rad, then the gripper's width in m [n_joints + 1]."""
        return np.array([motor.scale * float(observation[motor.key]) + motor.offset for motor in self.motors])

    def to_motors(self, position: Array) -> dict[str, float]:
        """Goals of the motors for joint positions in rad, then the gripper's width in m [n_joints + 1]."""
        goals = zip(self.motors, position, strict=True)
        return {motor.key: (float(value) - motor.offset) / motor.scale for motor, value in goals}


class LeRobotArm:
    """Reads and writes in a thread of its own: the motors' bus is slow and takes one at a time.

    The newest command is what the bus gets next; those that it had no time for are left out, the last never.
    An exchange that fails is tried again: meanwhile the observation grows old, and the controller holds.

    Attributes:
        failure: why the last exchange failed, "" if it did not.
    """

    def __init__(self, arm: Arm, *, schema: Schema, robot: RobotSpec, calibration: Calibration | None = None) -> None:
        """Begin to read from a connected `arm` for the channels of `schema`.

        Raises:
            UserError: it lacks a motor or camera, or the schema has channels that such an arm does not give.
        """
        self.schema, self.failure = schema, ""
        self._arm, self._robot, self._calibration = arm, robot, calibration or Calibration.of(robot)
        self._cameras = {key: camera for camera, key in cameras_of(schema).items()}
        self._require_channels()
        self._command: Array | None = None
        self._newest: tuple[dict[str, NDArray[Any]], float] | None = None
        self._jumps: JumpWatch | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lerobot", daemon=True)
        self._thread.start()

    def age(self) -> float | None:
        """Seconds since the reading of the newest observation began, or None before the first."""
        return None if self._newest is None else time.monotonic() - self._newest[1]

    def read(self) -> tuple[dict[str, NDArray[Any]], float] | None:
        """Newest observation and its `age` in s."""
        newest = self._newest
        return None if newest is None else (newest[0], time.monotonic() - newest[1])

    def write(self, position: NDArray[np.float64]) -> None:
        """Send joint positions [n_joints] in rad, then the gripper's width in m."""
        self._command = position.copy()

    def alarms(self, safety: SafetySettings) -> tuple[Alarm, ...]:
        """What gives reason to stop for: joints that jump, as after a garbled reading of the bus; see `Controller`.

        Raises:
            UserError: limits of efforts or of a wrench, of which these arms say nothing.
        """
        robot = self._robot
        contact = ContactStop(safety, None, joint_names=robot.joint_names)
        self._jumps = JumpWatch(robot.joint_names, robot.max_velocity, bound=safety.joint_jump)
        return contact.alarm, self._jumps.alarm

    def close(self) -> None:
        """Send what was not sent yet and end the thread; the arm stays connected."""
        self._ended.set()
        self._thread.join(5.0)

    def _require_channels(self) -> None:
        given = self._arm.observation_features
        for motor in self._calibration.motors:
            if motor.key not in given:
                raise UserError(
                    f"the arm has no motor '{motor.name}': correct the calibration; it has {', '.join(given)}"
                )
        for key in self.schema.observation_keys:
            if key in self._cameras:
                if self._cameras[key] not in given:
                    raise UserError(f"channel '{key}' needs a camera '{self._cameras[key]}': give the arm one")
            elif key != STATE:
                raise UserError(f"channel '{key}' is nothing that an arm of LeRobot gives: use a bundle without it")

    def _run(self) -> None:
        sent: Array | None = None
        while True:
            ending = self._ended.is_set()  # before the last look for a command
            try:
                command = self._command
                if command is not None and command is not sent:
                    self._arm.send_action(self._calibration.to_motors(command))
                    sent = command
                self._observe()
                if self.failure:
                    log.warning("the arm answers again")
                self.failure = ""
            except Exception as error:  # of any bus and camera
                if not self.failure:
                    log.warning("the arm does not answer: %s", error)
                self.failure = str(error) or type(error).__name__
            if ending:
                return
            self._ended.wait(PAUSE)

    def _observe(self) -> None:
        begun = time.monotonic()
        given = self._arm.get_observation()
        position = self._calibration.to_robot(given)
        if not np.isfinite(position).all():
            raise ValueError("a motor's position is not a finite number")
        if (jumps := self._jumps) is not None:
            jumps.take(position[:-1], stamp=begun, received=time.monotonic())
        observation: dict[str, NDArray[Any]] = {STATE: proprioception(self._robot, position[:-1], position[-1])}
        for key, camera in self._cameras.items():
            picture = np.asarray(given[camera])
            observation[key] = np.array(fit(picture, self.schema[key].shape))
        self._newest = observation, begun
