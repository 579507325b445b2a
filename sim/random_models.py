"""Random physics and looks of one world: values of model fields, scaled from the nominal ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.robot import RobotSpec
from robolearn.rotations import matrix_from_quat
from robolearn.sim.randomization import Randomization, Range
from robolearn.sim.tasks.task import Task

Array = NDArray[np.float64]
FIELDS = {
    "mass": ("body_mass", "body_inertia"),
    "size": ("geom_size", "geom_pos", "body_ipos", "body_inertia"),
    "friction": ("geom_friction",),
    "joint_damping": ("dof_damping",),
    "actuator_gain": ("actuator_gainprm", "actuator_biasprm"),
    "colour": ("geom_rgba",),
}


def uniform(rng: np.random.Generator, limits: Range, size: int | tuple[int, ...]) -> Array:
    """Draws [size] from the range [low, high]."""
    return rng.uniform(limits[0], limits[1], size)


class Draw(NamedTuple):
    """What one world got.

    Attributes:
        fields: values of model fields, named as in MuJoCo's `MjModel`.
        sizes: factor on the size of each resizable object.
    """

    fields: dict[str, Array]
    sizes: Array


class RandomModels:
    """Draws the model fields of one world at a time; a draw never depends on the one before.

    Attributes:
        fields: names of the fields that are drawn, as in MuJoCo's `MjModel`.
    """

    def __init__(self, ranges: Randomization, model: mujoco.MjModel, task: Task, robot: RobotSpec) -> None:
        """Look up in the nominal `model` what the ranges concern."""
        self._ranges, self._model = ranges, model
        self.fields = tuple(dict.fromkeys(field for name in FIELDS if name in ranges.active for field in FIELDS[name]))
        self._nominal = {field: np.array(getattr(model, field)) for field in self.fields}
        self._movable = np.array([model.body(name).id for name in task.movable], np.int64)
        resizable = task.movable if task.resizable is None else task.resizable
        self._resizable = np.array([model.body(name).id for name in resizable], np.int64)
        joints = (*robot.joint_names, *robot.gripper_joints)
        self._dofs = np.array([model.joint(name).dofadr[0] for name in joints])
        self._servos = np.array([model.actuator(name).id for name in joints])
        self._paints = _paints(model, task.recolour)

    def draw(self, rng: np.random.Generator) -> Draw:
        """One world's own values."""
        values = {field: nominal.copy() for field, nominal in self._nominal.items()}
        ranges = self._ranges
        sizes: Array = np.ones(len(self._resizable))
        if ranges.mass is not None:
            factor = uniform(rng, ranges.mass, len(self._movable))
            values["body_mass"][self._movable] *= factor
            values["body_inertia"][self._movable] *= factor[:, None]
        if ranges.size is not None:
            sizes = uniform(rng, ranges.size, len(self._resizable))
            self._resize(values, sizes)
        if ranges.friction is not None:
            values["geom_friction"] *= uniform(rng, ranges.friction, 1)
        if ranges.joint_damping is not None:
            values["dof_damping"][self._dofs] *= uniform(rng, ranges.joint_damping, len(self._dofs))
        if ranges.actuator_gain is not None:
            # a position servo's torque is gain * target + bias * (1, position, velocity)
            factor = uniform(rng, ranges.actuator_gain, len(self._servos))[:, None]
            values["actuator_gainprm"][self._servos] *= factor
            values["actuator_biasprm"][self._servos] *= factor
        if ranges.colour is not None:
            for geoms in self._paints:
                values["geom_rgba"][geoms, :3] = uniform(rng, ranges.colour, 3)
        return Draw(values, sizes)

    def _resize(self, values: dict[str, Array], factors: Array) -> None:
        for body, factor in zip(self._resizable, factors, strict=True):
            geoms = self._model.geom_bodyid == body
            values["geom_size"][geoms] *= factor
            values["geom_pos"][geoms] *= factor
            values["body_ipos"][body] *= factor
            values["body_inertia"][body] *= factor**2

    def settle(self, qpos: Array, sizes: Array) -> None:
        """Raise or lower resized objects so that they rest where they did.

        Their lowest point is that of their geoms' bounding boxes: exact for boxes, and for other shapes that stand
        upright or lie along an axis of their own frame.

        Args:
            qpos: positions [nq] of a world whose objects have the nominal size; changed in place.
            sizes: see `Draw`.
        """
        for body, factor in zip(self._resizable, sizes, strict=True):
            at = int(self._model.jnt_qposadr[self._model.body_jntadr[body]])
            upwards = matrix_from_quat(qpos[at + 3 : at + 7])[2]
            qpos[at + 2] += (factor - 1) * self._depth(body, upwards)

    def _depth(self, body: int, upwards: Array) -> float:
        """How far in m a body reaches below its origin; `upwards` [3] is the vertical in its frame."""
        geoms = np.flatnonzero(self._model.geom_bodyid == body)
        vertical = upwards @ matrix_from_quat(self._model.geom_quat[geoms])
        centre, half = self._model.geom_aabb[geoms, :3], self._model.geom_aabb[geoms, 3:]
        middle = self._model.geom_pos[geoms] @ upwards + (vertical * centre).sum(axis=1)
        return float(np.max((np.abs(vertical) * half).sum(axis=1) - middle))


def _paints(model: mujoco.MjModel, bodies: Sequence[str]) -> list[NDArray[np.intp]]:
    """Geoms that share a body and a colour, group by group: what was one colour stays one, what differs differs."""
    groups: list[NDArray[np.intp]] = []
    for name in bodies:
        geoms = np.flatnonzero(model.geom_bodyid == model.body(name).id)
        _, which = np.unique(model.geom_rgba[geoms], axis=0, return_inverse=True)
        groups += [geoms[which == k] for k in range(which.max(initial=-1) + 1)]
    return groups
