"""The scene around a task: physics options, table, light, objects and the robot."""

from __future__ import annotations

import mujoco

from robolearn.errors import UserError
from robolearn.robot import RobotSpec
from robolearn.sim.robots import build_robot
from robolearn.sim.tasks.task import Area, Task

TABLE = (0.5, 0.6, 0.025)  # half sizes in m; its top is the plane z = 0 of the robot's base


def build_model(task: Task, robot: RobotSpec, *, timestep: float) -> mujoco.MjModel:
    """Compile the model of a task with a robot; `timestep` is the physics step in s.

    Raises:
        UserError: the robot has not the reach that the task needs.
    """
    check_reach(task, robot)
    spec = mujoco.MjSpec()
    spec.modelname = f"{robot.name}_{task.name}"
    spec.compiler.degree = False
    option = spec.option
    option.timestep = timestep
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10.0  # friction harder than normal contact: grasped objects do not creep
    spec.worldbody.add_light(pos=(0.3, -0.8, 2.0), dir=(0.1, 0.35, -1.0))
    add_table(spec)
    task.build(spec, Area.of(robot))
    build_robot(spec, robot)
    return spec.compile()


def add_table(spec: mujoco.MjSpec) -> None:
    """Add the table that the robot stands on."""
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=(0.35, 0.0, -TABLE[2]),
        size=TABLE,
        rgba=(0.78, 0.68, 0.55, 1),
    )


def check_reach(task: Task, robot: RobotSpec) -> None:
    """Raise UserError where the arm's area or height is too small for a task."""
    width, depth = Area.of(robot).size
    height = robot.workspace[1][2]
    has, needs = (width, depth, height), task.space
    if any(h + 1e-9 < n for h, n in zip(has, needs, strict=True)):
        raise UserError(
            f"robot '{robot.name}' has not the reach of task '{task.name}': it serves {width:.2f} x {depth:.2f} m of "
            f"the table up to {height:.2f} m, the task needs {needs[0]:.2f} x {needs[1]:.2f} m up to {needs[2]:.2f} m"
        )
