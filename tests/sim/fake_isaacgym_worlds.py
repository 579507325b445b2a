"""The physics of the stand-in for Isaac Gym: each of its environments is a MuJoCo world, joined from the actors."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import torch

DOF_MODE_POS = 1
DOF = [("hasLimits", "?"), ("driveMode", "<i4")] + [
    (name, "<f4") for name in ("lower", "upper", "velocity", "effort", "stiffness", "damping", "friction", "armature")
]


class Asset:
    def __init__(self, spec: mujoco.MjSpec, options: Any) -> None:
        self.spec, self.options, model = spec, options, spec.compile()
        self.bodies = [model.body(1).name, *(model.body(i).name for i in range(model.nbody - 1, 1, -1))]
        hinged = [j for j in reversed(range(model.njnt)) if model.jnt_type[j] != mujoco.mjtJoint.mjJNT_FREE]
        self.dofs = [model.joint(j).name for j in hinged]
        self.limits = model.jnt_limited[hinged], model.jnt_range[hinged]
        self.geoms = [
            [model.geom(g).name for g in np.flatnonzero(model.geom_bodyid == model.body(b).id)] for b in self.bodies
        ]


class Actor:
    def __init__(self, asset: Asset, pose: Any, group: int, *, shapes: list[Any], masses: list[Any]) -> None:
        self.asset, self.pose, self.group, self.shapes, self.masses = asset, pose, group, shapes, masses
        self.drives = np.zeros(len(asset.dofs), DOF)
        self.drives["hasLimits"], limits = asset.limits
        self.drives["lower"], self.drives["upper"] = limits.T
        self.drives["velocity"] = self.drives["effort"] = np.finfo(np.float32).max


class Env:
    def __init__(self, number: int) -> None:
        self.number, self.actors = number, []

    def compile(self, params: Any) -> None:
        """Join the actors to one MuJoCo world."""
        spec = mujoco.MjSpec()
        spec.option.timestep = params.dt / params.substeps
        spec.option.gravity = (params.gravity.x, params.gravity.y, params.gravity.z)
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.cone, spec.option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10.0
        for k, actor in enumerate(self.actors):
            assert actor.group == self.number, "worlds must not touch each other"
            _add_actor(spec, actor, prefix=f"{k}/")
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        every = [(f"{k}/", actor) for k, actor in enumerate(self.actors)]
        self.bodies = [self.model.body(p + name).id for p, actor in every for name in actor.asset.bodies]
        self.geoms = [self.model.geom(p + g).id for p, actor in every for geoms in actor.asset.geoms for g in geoms]
        self.joints = [self.model.joint(p + name).id for p, actor in every for name in actor.asset.dofs]
        self.motors = [self.model.actuator(p + name).id for p, actor in every for name in actor.asset.dofs]
        self.roots = [self.model.body(p + actor.asset.bodies[0]).id for p, actor in every]
        self.qpos, self.dof = self.model.jnt_qposadr[self.joints], self.model.jnt_dofadr[self.joints]
        self.apply()
        mujoco.mj_kinematics(self.model, self.data)

    def apply(self) -> None:
        """Let the model have the actors' properties."""
        model = self.model
        shapes = [shape for actor in self.actors for shape in actor.shapes]
        kinds = sorted({shape.filter for shape in shapes})
        for geom, shape in zip(self.geoms, shapes, strict=True):
            assert shape.contact_offset > shape.rest_offset
            model.geom_friction[geom, 0], model.geom_margin[geom] = shape.friction, shape.rest_offset
            model.geom_contype[geom] = 1 << kinds.index(shape.filter)
            model.geom_conaffinity[geom] = sum(1 << k for k, kind in enumerate(kinds) if not kind & shape.filter)
        for body, mass in zip(self.bodies, (mass for actor in self.actors for mass in actor.masses), strict=True):
            if mass.mass > 0:
                rows = (mass.inertia.x, mass.inertia.y, mass.inertia.z)
                axes = np.zeros(9)
                mujoco.mju_quat2Mat(axes, model.body_iquat[body])
                axes = axes.reshape(3, 3)
                principal = axes.T @ [[row.x, row.y, row.z] for row in rows] @ axes
                moments = np.diag(principal)
                np.testing.assert_allclose(principal, np.diag(moments), rtol=0, atol=1e-6 * moments.max())
                model.body_mass[body], model.body_inertia[body] = mass.mass, moments
        drives = np.concatenate([actor.drives for actor in self.actors])
        assert (drives["driveMode"] == DOF_MODE_POS).all()
        model.jnt_limited[self.joints] = drives["hasLimits"]
        model.jnt_range[self.joints] = np.stack((drives["lower"], drives["upper"]), axis=1)
        model.dof_armature[self.dof] = drives["armature"]
        model.actuator_gainprm[self.motors, 0] = drives["stiffness"]
        model.actuator_biasprm[self.motors, 1:3] = -np.stack((drives["stiffness"], drives["damping"]), axis=1)
        model.actuator_forcerange[self.motors] = drives["effort"][:, None] * np.array((-1.0, 1.0))
        mujoco.mj_setConst(model, mujoco.MjData(model))

    def put(self, actor: int, state: np.ndarray) -> None:
        """Place the root of an actor, at rest."""
        assert not state[7:].any()
        root, pos, quat = self.roots[actor], state[:3], state[[6, 3, 4, 5]]
        if (mocap := self.model.body_mocapid[root]) >= 0:
            self.data.mocap_pos[mocap], self.data.mocap_quat[mocap] = pos, quat
        else:
            joint = self.data.joint(self.model.body_jntadr[root])
            joint.qpos, joint.qvel = (*pos, *quat), 0.0
        self.data.qacc_warmstart = 0.0  # a new episode knows nothing of the one before


def _add_actor(spec: mujoco.MjSpec, actor: Actor, *, prefix: str) -> None:
    part, options, pose = actor.asset.spec.copy(), actor.asset.options, actor.pose
    assert options.angular_damping == options.linear_damping == 0.0
    assert not options.collapse_fixed_joints
    root = part.worldbody.first_body()
    root.pos, root.quat = (pose.p.x, pose.p.y, pose.p.z), (pose.r.w, pose.r.x, pose.r.y, pose.r.z)
    root.mocap = options.fix_base_link
    for body in part.bodies[1:]:
        body.gravcomp = float(options.disable_gravity)
        if body.parent != part.worldbody:
            part.add_exclude(bodyname1=body.parent.name, bodyname2=body.name)
    for geom in part.geoms:
        geom.condim, geom.solref, geom.solimp = 4, (0.01, 1.0), (0.98, 0.998, 0.001, 0.5, 2.0)  # PhysX's are hard
    for name in actor.asset.dofs:
        motor = part.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.set_to_position(kp=1.0, kv=1.0)
        motor.forcelimited, motor.forcerange = True, (-1.0, 1.0)
    spec.attach(part, prefix=prefix, frame=spec.worldbody.add_frame())


def poses(env: Env, bodies: list[int]) -> torch.Tensor:
    poses = np.concatenate((env.data.xpos[bodies], env.data.xquat[bodies][:, [1, 2, 3, 0]]), axis=1)
    return torch.as_tensor(poses, dtype=torch.float32)
