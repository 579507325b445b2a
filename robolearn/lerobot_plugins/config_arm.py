"""Configuration of the simulated arm, `--robot.type=robolearn_arm`."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.robots import RobotConfig


# LeRobot looks for the class `SimulatedArm` in the module `arm` beside this one.
@RobotConfig.register_subclass("robolearn_arm")
@dataclass(kw_only=True)
class SimulatedArmConfig(RobotConfig):
    """An arm at one of our tasks, in MuJoCo and without ROS.

    Attributes:
        task: name; see `robolearn.sim.tasks.TASKS`.
        robot: name of the arm; see `robolearn.sim.robots.ROBOTS`.
        action_space: one of `robolearn.action_space.ACTION_SPACES`; the task's own when None.
        fps: control rate in Hz that an action stands for; give `--fps` the same.
        cameras: those whose pictures are observed, e.g. [external, wrist].
        image_size: width and height of their pictures in pixels.
        objects: whether the poses of the task's objects are observed, which no arm has by itself.
        seed: of the start.
    """

    task: str = "lift"
    robot: str = "panda"
    action_space: str | None = None
    fps: int = 20
    cameras: list[str] = field(default_factory=list)
    image_size: int = 84
    objects: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Skip what LeRobot checks of its own cameras: these are names."""
