"""What the actors of Isaac Gym are made of: surfaces, masses and drives, from the fields of a MuJoCo model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.robot import RobotSpec
from robolearn.sim.backends.isaacgym_assets import Asset, collision_filters, inertia_matrices

if TYPE_CHECKING:
    from isaacgym import gymapi

Array = NDArray[np.float64]
Values = Callable[[str], Array]  # a world's own values of a field of the model, by the field's name in MuJoCo
CONTACT_OFFSET = 0.002  # m between two surfaces from which PhysX looks at them
SPEED_MARGIN = 2.0  # no joint gets faster than this multiple of the robot's limit
UNLIMITED = 1e6  # N or N m


@dataclass(frozen=True)
class Properties:
    """Sets the properties of actors.

    Attributes:
        gym: Isaac Gym.
        model: the scene.
        filters: bits of each geom that say what it touches.
        speed: the robot's limits, rad/s or m/s, by joint.
    """

    gym: gymapi.Gym
    model: mujoco.MjModel
    filters: NDArray[np.int64]
    speed: Mapping[str, float]

    @classmethod
    def of(cls, gym: gymapi.Gym, model: mujoco.MjModel, robot: RobotSpec) -> Properties:
        """The properties of a robot's scene."""
        fingers = dict.fromkeys(robot.gripper_joints, robot.gripper_speed / len(robot.gripper_joints))
        arm = dict(zip(robot.joint_names, robot.max_velocity, strict=True))
        return cls(gym, model, collision_filters(model), {**arm, **fingers})

    def set_shapes(self, env: gymapi.Env, actor: gymapi.Actor, asset: Asset, values: Values) -> None:
        """Friction, and what touches what and from which distance."""
        friction, margin = values("geom_friction"), values("geom_margin")
        shapes = self.gym.get_actor_rigid_shape_properties(env, actor)
        spans = self.gym.get_actor_rigid_body_shape_indices(env, actor)
        for name, span in zip(self.gym.get_actor_rigid_body_names(env, actor), spans, strict=True):
            own, geoms = shapes[span.start : span.start + span.count], asset.geoms[name]
            if len(own) != len(geoms):
                raise RuntimeError(f"Isaac Gym made {len(own)} shapes of the {len(geoms)} geoms of body '{name}'")
            for shape, geom in zip(own, geoms, strict=True):
                shape.friction, shape.filter = float(friction[geom, 0]), int(self.filters[geom])
                shape.rest_offset, shape.contact_offset = float(margin[geom]), CONTACT_OFFSET + float(margin[geom])
        self.gym.set_actor_rigid_shape_properties(env, actor, shapes)

    def set_masses(self, env: gymapi.Env, actor: gymapi.Actor, asset: Asset, values: Values) -> None:
        """Mass and inertia; the centres of mass stay where the file has them."""
        if not (asset.free or asset.joints):
            return  # static
        from isaacgym import gymapi

        mass, inertia = values("body_mass"), inertia_matrices(self.model.body_iquat, values("body_inertia"))
        properties = self.gym.get_actor_rigid_body_properties(env, actor)
        for name, body in zip(self.gym.get_actor_rigid_body_names(env, actor), properties, strict=True):
            k = asset.bodies[name]
            if mass[k] > 0:
                matrix = gymapi.Mat33()
                matrix.x, matrix.y, matrix.z = (gymapi.Vec3(*row) for row in inertia[k].tolist())
                body.mass, body.inertia = float(mass[k]), matrix
        self.gym.set_actor_rigid_body_properties(env, actor, properties, False)

    def set_drives(self, env: gymapi.Env, actor: gymapi.Actor, asset: Asset, values: Values) -> None:
        """Limits of the joints, and drives to positions; without stiffness such a drive is a damper."""
        from isaacgym import gymapi

        model, drives = self.model, self.gym.get_actor_dof_properties(env, actor)
        drives["driveMode"].fill(gymapi.DOF_MODE_POS)
        for k, name in enumerate(self.gym.get_actor_dof_names(env, actor)):
            joint = asset.joints[name]
            dof, servo = model.jnt_dofadr[joint], np.flatnonzero(model.actuator_trnid[:, 0] == joint)
            gain, bias = values("actuator_gainprm")[servo], values("actuator_biasprm")[servo]
            drives["hasLimits"][k] = model.jnt_limited[joint]
            drives["lower"][k], drives["upper"][k] = values("jnt_range")[joint]
            drives["stiffness"][k], drives["damping"][k] = (
                gain[:, 0].sum(),
                values("dof_damping")[dof] - bias[:, 2].sum(),
            )
            drives["effort"][k] = model.actuator_forcerange[servo[0], 1] if servo.size else UNLIMITED
            drives["armature"][k], drives["friction"][k] = model.dof_armature[dof], 0.0
            if name in self.speed:
                drives["velocity"][k] = SPEED_MARGIN * self.speed[name]
        self.gym.set_actor_dof_properties(env, actor, drives)


Setter = Callable[[Properties, "gymapi.Env", "gymapi.Actor", Asset, Values], None]
FIELDS: dict[str, Setter | None] = {  # those that may differ between worlds: what is set anew when they change
    "geom_friction": Properties.set_shapes,
    "geom_margin": Properties.set_shapes,
    "body_mass": Properties.set_masses,
    "body_inertia": Properties.set_masses,
    "jnt_range": Properties.set_drives,
    "dof_damping": Properties.set_drives,
    "actuator_gainprm": Properties.set_drives,
    "actuator_biasprm": Properties.set_drives,
    "geom_rgba": None,  # cameras draw the MuJoCo model
}
