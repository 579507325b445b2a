"""An arm on ROS 2 as the place where `robolearn finetune` explores: env.backend=ros2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.config import ArmConfig, RobotConfig, TaskConfig
from robolearn.errors import UserError

if TYPE_CHECKING:
    from robolearn.protocols import VecEnv
    from robolearn.schema import Schema

ROS2 = "ros2"  # backend


@dataclass(frozen=True)
class Arm:
    """Where an arm is: all that the process that acts on it needs to know.

    Attributes:
        config: of the arm.
        domain: ROS domain; that of ROS_DOMAIN_ID when None.
    """

    config: ArmConfig
    domain: int | None

    def open(self, task: TaskConfig, robot: RobotConfig) -> VecEnv:
        """Connect to it.

        Raises:
            UserError: it does not answer, somebody else commands it, or the task is not one for it.
        """
        from robolearn.action_space import make_action_space
        from robolearn.real.ros2.availability import keep_to_this_machine, require_rclpy
        from robolearn.real.settings import Settings
        from robolearn.sim.collision import collision_model
        from robolearn.sim.robots import get_robot
        from robolearn.sim.tasks import make_task

        require_rclpy()
        if self.config.simulated:
            keep_to_this_machine()
        from robolearn.real.ros2.arm import RosArmEnv

        known, spec = make_task(task.name), get_robot(robot.name)
        return RosArmEnv(
            schema=arm_schema(task, robot),
            action_space=make_action_space(task.action_space, robot=spec, dt=1 / task.fps),
            settings=Settings(
                rate=self.config.control_rate,
                stale_after=self.config.stale_limit,
                deadline=self.config.action_deadline,
            ),
            safety=self.config.safety,
            collision=collision_model(spec),
            simulated=self.config.simulated,
            confirm=self.config.confirm,
            domain=self.domain,
            instruction=known.instructions[0][0],
            stage_names=known.stage_names,
            max_episode_steps=task.max_episode_steps,
        )


def arm_schema(task: TaskConfig, robot: RobotConfig) -> Schema:
    """Channels that an arm gives: those of the simulated task."""
    from robolearn.sim.robots import get_robot
    from robolearn.sim.tasks import make_task
    from robolearn.sim.vec_env import make_schema

    return make_schema(make_task(task.name), get_robot(robot.name), action_space=task.action_space, fps=task.fps)


@contextmanager
def running_arm(config: ArmConfig, task: TaskConfig, robot: RobotConfig, *, log: Path) -> Iterator[Arm]:
    """The arm for the block: a simulated one is brought up in a domain of its own, and said to have ended if it has.

    Raises:
        UserError: ROS 2 is missing, the domain is busy, or the simulated arm has ended.
    """
    from robolearn.real.ros2.availability import require_rclpy
    from robolearn.real.ros2.domain import choose_domain
    from robolearn.real.ros2.processes import Child, shared_memory_of, sweep

    require_rclpy()
    if not config.simulated:
        yield Arm(config, config.domain_id)
        return
    domain = choose_domain(config.domain_id)
    options = ("--task", task.name, "--robot", robot.name, "--rate", str(config.control_rate))
    child = Child("simulated arm", "robolearn.real.ros2.simulated_arm", options, domain=domain, log=log)
    try:
        yield Arm(config, domain)
    except UserError:
        child.require_alive()  # which would be why
        raise
    finally:
        segments = shared_memory_of([child.process.pid])
        child.end()
        sweep(segments, domain=domain)
