"""A stand-in for Isaac Gym: the part of its interface that our stubs declare, over MuJoCo worlds on the CPU.

It keeps Isaac Gym's customs where a backend can go wrong: quaternions are (x, y, z, w), degrees of freedom and bodies
come in an order of its own, new states reach the simulation with the next step and are heeded once before it, a wrench
lasts one step, shapes touch where their filters share no bit, and a parent and its child never do.
"""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch
from fake_isaacgym_worlds import DOF_MODE_POS as DOF_MODE_POS
from fake_isaacgym_worlds import Actor, Asset, Env, poses

SIM_PHYSX, UP_AXIS_Z, DOMAIN_ENV, DOMAIN_SIM, ENV_SPACE = "physx", "z", "env", "sim", "env space"


# slots refuse attributes that Isaac Gym has not
@dataclass(slots=True)
class Vec3:
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0


@dataclass(slots=True)
class Quat:
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    w: float = 1.0


@dataclass(slots=True)
class Transform:
    p: Vec3 = field(default_factory=Vec3)
    r: Quat = field(default_factory=Quat)


@dataclass(slots=True)
class Mat33:
    x: Vec3 = field(default_factory=Vec3)
    y: Vec3 = field(default_factory=Vec3)
    z: Vec3 = field(default_factory=Vec3)


@dataclass(slots=True)
class PhysXParams:
    use_gpu: bool = False
    solver_type: int = 1
    num_position_iterations: int = 4
    num_velocity_iterations: int = 1
    contact_offset: float = 0.02
    rest_offset: float = 0.001
    default_buffer_size_multiplier: float = 2.0


@dataclass(slots=True)
class SimParams:
    dt: float = 1 / 60
    substeps: int = 2
    up_axis: str = "y"
    gravity: Vec3 = field(default_factory=lambda: Vec3(0.0, -9.8, 0.0))
    use_gpu_pipeline: bool = False
    physx: PhysXParams = field(default_factory=PhysXParams)


@dataclass(slots=True)
class AssetOptions:
    fix_base_link: bool = False
    disable_gravity: bool = False
    collapse_fixed_joints: bool = False
    replace_cylinder_with_capsule: bool = False
    angular_damping: float = 0.5
    linear_damping: float = 0.0


@dataclass(slots=True)
class IndexRange:
    start: int = 0
    count: int = 0


@dataclass(slots=True)
class RigidBodyProperties:
    mass: float = 0.0
    com: Vec3 = field(default_factory=Vec3)
    inertia: Mat33 = field(default_factory=Mat33)


@dataclass(slots=True)
class RigidShapeProperties:
    friction: float = 1.0
    filter: int = 0
    contact_offset: float = 0.02
    rest_offset: float = 0.0


class Sim:
    def __init__(self, params: SimParams) -> None:
        self.params, self.envs, self.alive = params, [], True
        self.pending: dict[str, Any] = {}
        self.wrench: np.ndarray | None = None


class Gym:
    def create_sim(self, compute_device, graphics_device, type, params):
        assert (type, params.up_axis, params.use_gpu_pipeline) == (SIM_PHYSX, UP_AXIS_Z, False)
        return Sim(params)

    def load_asset(self, sim, rootpath, filename, options):
        return Asset(mujoco.MjSpec.from_file(str(Path(rootpath) / filename)), options)

    def create_env(self, sim, lower, upper, num_per_row):
        sim.envs.append(Env(len(sim.envs)))
        return sim.envs[-1]

    def create_actor(self, env, asset, pose, name, group, filter):
        assert filter == -1, "any other value would take the place of the shapes' own filters"
        shapes = [RigidShapeProperties() for geoms in asset.geoms for _ in geoms]
        env.actors.append(
            Actor(asset, pose, group, shapes=shapes, masses=[RigidBodyProperties() for _ in asset.bodies])
        )
        return len(env.actors) - 1

    def get_actor_index(self, env, actor, domain):
        return actor + (env.number * len(env.actors) if domain == DOMAIN_SIM else 0)

    def get_actor_rigid_body_names(self, env, actor):
        return list(env.actors[actor].asset.bodies)

    def get_actor_rigid_body_shape_indices(self, env, actor):
        counts = [len(geoms) for geoms in env.actors[actor].asset.geoms]
        return [IndexRange(sum(counts[:k]), count) for k, count in enumerate(counts)]

    def get_actor_dof_names(self, env, actor):
        return list(env.actors[actor].asset.dofs)

    def find_actor_rigid_body_index(self, env, actor, name, domain):
        assert domain == DOMAIN_ENV
        before = sum(len(other.asset.bodies) for other in env.actors[:actor])
        return before + env.actors[actor].asset.bodies.index(name)

    def find_actor_dof_index(self, env, actor, name, domain):
        assert domain == DOMAIN_ENV
        return sum(len(other.asset.dofs) for other in env.actors[:actor]) + env.actors[actor].asset.dofs.index(name)

    def get_actor_rigid_body_properties(self, env, actor):
        return [RigidBodyProperties(m.mass, m.com, m.inertia) for m in env.actors[actor].masses]

    def set_actor_rigid_body_properties(self, env, actor, props, recompute_inertia):
        assert not recompute_inertia
        return self._set(env, actor, masses=props)

    def get_actor_rigid_shape_properties(self, env, actor):
        shapes = env.actors[actor].shapes
        return [RigidShapeProperties(s.friction, s.filter, s.contact_offset, s.rest_offset) for s in shapes]

    def set_actor_rigid_shape_properties(self, env, actor, props):
        return self._set(env, actor, shapes=props)

    def get_actor_dof_properties(self, env, actor):
        return env.actors[actor].drives.copy()

    def set_actor_dof_properties(self, env, actor, props):
        return self._set(env, actor, drives=props)

    def _set(self, env, actor, **properties):
        for name, values in properties.items():
            assert len(values) == len(getattr(env.actors[actor], name))
            setattr(env.actors[actor], name, values)
        if hasattr(env, "model"):
            env.apply()
        return True

    def prepare_sim(self, sim):
        for env in sim.envs:
            env.compile(sim.params)
        env = sim.envs[0]
        sim.roots = torch.zeros(len(sim.envs) * len(env.actors), 13)
        sim.bodies = torch.zeros(len(sim.envs) * len(env.bodies), 13)
        sim.dofs = torch.zeros(len(sim.envs) * len(env.joints), 2)
        sim.targets = np.zeros((len(sim.envs), len(env.joints)))
        return True

    def acquire_actor_root_state_tensor(self, sim):
        return sim.roots

    def acquire_rigid_body_state_tensor(self, sim):
        return sim.bodies

    def acquire_dof_state_tensor(self, sim):
        return sim.dofs

    def refresh_rigid_body_state_tensor(self, sim):
        sim.bodies[:, :7] = torch.cat([poses(env, env.bodies) for env in sim.envs])
        return True

    def refresh_dof_state_tensor(self, sim):
        states = [np.stack((env.data.qpos[env.qpos], env.data.qvel[env.dof]), axis=1) for env in sim.envs]
        sim.dofs[:] = torch.as_tensor(np.concatenate(states))
        return True

    def set_actor_root_state_tensor_indexed(self, sim, states, actors, num_actors):
        return self._wait(sim, "roots", states, actors, num_actors)

    def set_dof_state_tensor_indexed(self, sim, states, actors, num_actors):
        size = len(sim.envs[0].actors)
        assert all(sim.envs[a // size].actors[a % size].asset.dofs for a in actors.tolist())
        return self._wait(sim, "dofs", states, actors, num_actors)

    def _wait(self, sim, kind, states, actors, count):
        assert kind not in sim.pending, "Isaac Gym heeds one change of states between two steps"
        assert (states.numel(), actors.dtype, len(actors)) == (getattr(sim, kind).numel(), torch.int32, count)
        sim.pending[kind] = states.numpy().reshape(getattr(sim, kind).shape).astype(float), actors.tolist()
        return True

    def set_dof_position_target_tensor(self, sim, targets):
        sim.targets[:] = targets.numpy().reshape(sim.targets.shape)
        return True

    def apply_rigid_body_force_tensors(self, sim, forces, torques, space):
        assert space == ENV_SPACE
        sim.wrench = torch.cat((forces, torques), dim=-1).numpy().reshape(len(sim.envs), -1, 6)
        return True

    def simulate(self, sim):
        assert sim.alive
        self._take_states(sim)
        for env in sim.envs:
            env.data.ctrl[env.motors] = sim.targets[env.number]
            if sim.wrench is not None:
                env.data.xfrc_applied[env.bodies] = sim.wrench[env.number]
            mujoco.mj_step(env.model, env.data, nstep=sim.params.substeps)
            env.data.xfrc_applied[:] = 0.0
            mujoco.mj_kinematics(env.model, env.data)
        sim.wrench = None

    def _take_states(self, sim):
        size = len(sim.envs[0].actors)
        states, actors = sim.pending.pop("roots", (None, []))
        for index in actors:
            sim.envs[index // size].put(index % size, states[index])
        states, actors = sim.pending.pop("dofs", (None, []))
        for index in actors:
            env, actor = sim.envs[index // size], index % size
            first = sum(len(other.asset.dofs) for other in env.actors[:actor])
            own = slice(first, first + len(env.actors[actor].asset.dofs))
            rows = states.reshape(len(sim.envs), -1, 2)[env.number, own]
            env.data.qpos[env.qpos[own]], env.data.qvel[env.dof[own]] = rows.T

    def fetch_results(self, sim, wait):
        assert wait

    def destroy_sim(self, sim):
        assert sim.alive
        sim.alive = False


def acquire_gym() -> Gym:
    return Gym()


def wrap_tensor(gym_tensor: torch.Tensor) -> torch.Tensor:
    return gym_tensor


def unwrap_tensor(torch_tensor: torch.Tensor) -> torch.Tensor:
    assert torch_tensor.is_contiguous()
    assert torch_tensor.dtype in (torch.float32, torch.int32)
    return torch_tensor


def install(monkeypatch: Any) -> None:
    """Let `import isaacgym` find the stand-in."""
    package, this = types.ModuleType("isaacgym"), sys.modules[__name__]
    package.gymapi = package.gymtorch = this
    for name, module in (("isaacgym", package), ("isaacgym.gymapi", this), ("isaacgym.gymtorch", this)):
        monkeypatch.setitem(sys.modules, name, module)
