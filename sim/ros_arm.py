"""The MuJoCo plant behind the simulated arm of `robolearn.real.ros2.simulated_arm`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.robot import RobotSpec
from robolearn.sim.backends.mujoco import Worlds
from robolearn.sim.image_observations import ImageObservations
from robolearn.sim.mirror import poses
from robolearn.sim.robots import get_robot
from robolearn.sim.state import WorldState
from robolearn.sim.tasks import make_task

Array = NDArray[np.float64]
TIMESTEP = 0.002  # s of a physics step: finer than in training, so that the arm is not the training's twin


class MujocoPlant:
    """One world, advanced one control period at a time."""

    def __init__(
        self,
        task: str,
        robot: str,
        *,
        period: float,
        gain: float = 1.0,
        gravity: float = 0.0,
        cameras: Sequence[str] = (),
        image_size: int = 84,
    ) -> None:
        """Build the scene.

        Args:
            task: name.
            robot: name.
            period: s between commands.
            gain: factor on stiffness and damping of the arm's servos.
            gravity: share of its weight that the arm does not carry by itself.
            cameras: names; see `robolearn.sim.cameras.cameras_of`.
            image_size: width and height of their pictures in pixels.

        Raises:
            UserError: if the task, robot or a camera is unknown or no whole number of physics steps fits in `period`.
        """
        self._nstep = round(period / TIMESTEP)
        if self._nstep < 1 or abs(self._nstep * TIMESTEP - period) > 1e-9:
            raise UserError(f"{1 / period:g} Hz: the period is no multiple of {TIMESTEP * 1e3:g} ms, try 250 or 500 Hz")
        self._worlds = Worlds(make_task(task), get_robot(robot), num_worlds=1, threads=1, timestep=TIMESTEP)
        self.robot, self.objects = self._worlds.robot, self._worlds.task.bodies
        self._worlds.write_model(np.arange(1), _mismatched(self._worlds.model, self.robot, gain, gravity))
        self.cameras = tuple(cameras)
        self._images = ImageObservations(self._worlds, self.cameras, size=image_size) if cameras else None
        self._worlds.efforts()  # every step writes them from here on
        self.reset(0)

    @property
    def state(self) -> WorldState:
        """Present state, arrays [1, ...]."""
        return self._worlds.state

    @property
    def effort(self) -> Array:
        """Torques of the arm's servos [n_joints] in N m."""
        return self._worlds.efforts()[0]

    @property
    def pose(self) -> Array:
        """Where everything is [size]; see `robolearn.sim.mirror.poses`."""
        pose: Array = poses(self._worlds)[0]
        return pose

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """What each camera sees [image_size, image_size, 3]."""
        if self._images is None:
            return {}
        return {name: views[0] for name, views in zip(self.cameras, self._images.draw().values(), strict=True)}

    def reset(self, seed: int) -> None:
        """Begin the episode of a seed: the same start as in a simulation with this seed."""
        self._worlds.reset([seed])
        self._held = self._last = self._worlds.command_here()

    def step(self, command: Array | None) -> None:
        """Advance one period towards a command [n_joints + 1]; None holds the pose after the reset."""
        self._last = self._held if command is None else command[None]
        self.hold()

    def hold(self) -> None:
        """Advance one period towards the last command."""
        self._worlds.step(self._last, self._nstep)

    def stage(self) -> tuple[int, bool]:
        """Index of the current stage and whether the task is done."""
        state, task = self._worlds.state, self._worlds.task
        return int(task.stage(state)[0]), bool(task.success(state)[0])


def _mismatched(model: mujoco.MjModel, robot: RobotSpec, gain: float, gravity: float) -> dict[str, Array]:
    """Fields [1, ...] of a model with other servos, and less of the arm's weight carried."""
    servos = [model.actuator(name).id for name in robot.joint_names]
    factor = np.ones((model.nu, 1))
    factor[servos] = gain
    return {
        "actuator_gainprm": (factor * model.actuator_gainprm)[None],
        "actuator_biasprm": (factor * model.actuator_biasprm)[None],
        "body_gravcomp": ((1.0 - gravity) * model.body_gravcomp)[None],
    }


def make_plant(*, task: str, robot: str, **options: Any) -> MujocoPlant:
    """Plant by the names of task and robot; see `MujocoPlant` for the options."""
    return MujocoPlant(task, robot, **options)
