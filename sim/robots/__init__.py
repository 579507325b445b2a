"""Robots: one file each, a RobotSpec and a function that builds the arm into an MjSpec."""

from __future__ import annotations

from collections.abc import Callable

import mujoco

from robolearn.errors import UserError, nearest
from robolearn.robot import RobotSpec
from robolearn.sim.robots.panda import PANDA, build_panda
from robolearn.sim.robots.so101 import SO101, build_so101
from robolearn.sim.robots.ur5e import UR5E, build_ur5e

ROBOTS: dict[str, tuple[RobotSpec, Callable[[mujoco.MjSpec], None]]] = {
    robot.name: (robot, build) for robot, build in ((PANDA, build_panda), (UR5E, build_ur5e), (SO101, build_so101))
}


def get_robot(name: str) -> RobotSpec:
    """Return the robot of this name; UserError names the nearest one."""
    if name not in ROBOTS:
        raise UserError(f"unknown robot '{name}'{nearest(name, ROBOTS)}")
    return ROBOTS[name][0]


def build_robot(spec: mujoco.MjSpec, robot: RobotSpec) -> None:
    """Add the robot's bodies, joints and actuators to a scene."""
    ROBOTS[robot.name][1](spec)
