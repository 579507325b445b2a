"""Copies of a scene in one simulation of Isaac Gym: actors, and the tensors of their states.

Joints and bodies go by the ids of the MuJoCo model here and outside, quaternions by (w, x, y, z); what Isaac Gym counts
and orders otherwise ends in this file. Isaac Gym is imported in functions: it must come before torch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.robot import RobotSpec
from robolearn.sim.backends.isaacgym_assets import Asset, split_scene
from robolearn.sim.backends.isaacgym_properties import CONTACT_OFFSET, FIELDS, Properties

if TYPE_CHECKING:
    import torch
    from isaacgym import gymapi

Array = NDArray[np.float64]
Ids = NDArray[np.intp]
SPACE = 1.0  # m around the base that a world has for itself
TO_XYZW, TO_WXYZ = (1, 2, 3, 0), (3, 0, 1, 2)  # orders of a quaternion's components


class Motion(NamedTuple):
    """Where the worlds are.

    Attributes:
        positions, velocities: of the joints [num_worlds, n_joints], in the order of `IsaacScene.joints`.
        pos, quat: of the bodies [num_worlds, n_bodies, 3 and 4], in the order of `IsaacScene.bodies`.
    """

    positions: Array
    velocities: Array
    pos: Array
    quat: Array


class IsaacScene:
    """`num_worlds` copies of a MuJoCo model, simulated by PhysX.

    Attributes:
        joints: ids of the model's hinges and slides, in the order of Isaac Gym's degrees of freedom.
        bodies: ids of the model's bodies that Isaac Gym has, in its order.
        placed: ids of the bodies that `start` puts somewhere.
        own: values [num_worlds, ...] of the model's fields that differ between worlds, by name.
    """

    def __init__(self, model: mujoco.MjModel, robot: RobotSpec, *, num_worlds: int, device: str) -> None:
        """Create the simulation on `device`, "cpu" or "cuda:0" for instance."""
        from isaacgym import gymapi, gymtorch

        self._model, self._device, self._gpu = model, device, _gpu(device)
        self._gym, self._unwrap = gymapi.acquire_gym(), gymtorch.unwrap_tensor
        self._assets, self._properties = split_scene(model), Properties.of(self._gym, model, robot)
        self.own: dict[str, Array] = {}
        sim = self._gym.create_sim(self._gpu or 0, -1, gymapi.SIM_PHYSX, self._parameters())
        self._sim = _made(sim, "create the simulation")
        self._envs: list[gymapi.Env] = []
        self._actors: list[list[gymapi.Actor]] = []
        self._create_worlds(num_worlds)
        _made(self._gym.prepare_sim(self._sim), "prepare the simulation")
        self.joints, self.bodies = self._order()
        self.placed = np.array([asset.bodies[asset.name] for asset in self._assets if asset.placed], np.intp)
        actors = self._actor_indices()
        self._placed = actors[:, [asset.placed for asset in self._assets]]
        self._jointed = actors[:, [bool(asset.joints) for asset in self._assets]]
        wrap = gymtorch.wrap_tensor
        self._roots = wrap(self._gym.acquire_actor_root_state_tensor(self._sim))
        self._dofs = wrap(self._gym.acquire_dof_state_tensor(self._sim)).view(num_worlds, -1, 2)
        self._bodies = wrap(self._gym.acquire_rigid_body_state_tensor(self._sim)).view(num_worlds, -1, 13)
        self._force, self._torque = (self._bodies.new_zeros((*self._bodies.shape[:2], 3)) for _ in range(2))
        self._pushed = False

    def _parameters(self) -> gymapi.SimParams:
        from isaacgym import gymapi

        params = gymapi.SimParams()
        params.dt, params.substeps = float(self._model.opt.timestep), 1
        params.up_axis = gymapi.UP_AXIS_Z
        params.gravity = gymapi.Vec3(*self._model.opt.gravity.tolist())
        params.use_gpu_pipeline = params.physx.use_gpu = self._gpu is not None
        params.physx.solver_type = 1  # TGS: stiff drives hold
        params.physx.num_position_iterations, params.physx.num_velocity_iterations = 16, 1
        params.physx.contact_offset, params.physx.rest_offset = CONTACT_OFFSET, 0.0
        params.physx.default_buffer_size_multiplier = 5.0
        return params

    def _create_worlds(self, num_worlds: int) -> None:
        from isaacgym import gymapi

        with tempfile.TemporaryDirectory() as folder:
            loaded = [self._load(asset, Path(folder)) for asset in self._assets]
        low, high = gymapi.Vec3(-SPACE, -SPACE, 0.0), gymapi.Vec3(SPACE, SPACE, SPACE)
        for world in range(num_worlds):
            env = self._gym.create_env(self._sim, low, high, isqrt(num_worlds))
            self._envs.append(env)
            # worlds are groups that pass through each other; within one, the shapes' own filters (-1) decide
            self._actors.append(
                [
                    self._gym.create_actor(env, source, self._pose(asset), asset.name, world, -1)
                    for asset, source in zip(self._assets, loaded, strict=True)
                ]
            )
            self._set_properties(world, FIELDS)

    def _load(self, asset: Asset, folder: Path) -> gymapi.Asset:
        from isaacgym import gymapi

        options = gymapi.AssetOptions()
        options.fix_base_link, options.disable_gravity = not asset.free, asset.weightless
        options.collapse_fixed_joints = options.replace_cylinder_with_capsule = False
        options.angular_damping = options.linear_damping = 0.0
        (folder / f"{asset.name}.xml").write_text(asset.mjcf)
        loaded = self._gym.load_asset(self._sim, str(folder), f"{asset.name}.xml", options)
        return _made(loaded, f"load the asset '{asset.name}'")

    def _pose(self, asset: Asset) -> gymapi.Transform:
        """Where the model has the root of an asset."""
        from isaacgym import gymapi

        root = asset.bodies[asset.name]
        pos, quat = self._model.body_pos[root], self._model.body_quat[root, TO_XYZW]
        return gymapi.Transform(gymapi.Vec3(*pos.tolist()), gymapi.Quat(*quat.tolist()))

    def _order(self) -> tuple[Ids, Ids]:
        """What Isaac Gym's degrees of freedom and bodies are in the model."""
        from isaacgym import gymapi

        gym, env = self._gym, self._envs[0]
        joints, bodies = {}, {}
        for asset, actor in zip(self._assets, self._actors[0], strict=True):
            for name, joint in asset.joints.items():
                joints[gym.find_actor_dof_index(env, actor, name, gymapi.DOMAIN_ENV)] = joint
            for name, body in asset.bodies.items():
                bodies[gym.find_actor_rigid_body_index(env, actor, name, gymapi.DOMAIN_ENV)] = body
        return np.array([joints[k] for k in sorted(joints)]), np.array([bodies[k] for k in sorted(bodies)])

    def _actor_indices(self) -> NDArray[np.int32]:
        """Where each world's actors are among all [num_worlds, n_assets]."""
        from isaacgym import gymapi

        index, everywhere = self._gym.get_actor_index, gymapi.DOMAIN_SIM
        worlds = zip(self._envs, self._actors, strict=True)
        return np.array([[index(env, actor, everywhere) for actor in actors] for env, actors in worlds], np.int32)

    def start(self, ids: Ids, poses: Array, positions: Array) -> None:
        """Put worlds somewhere, at rest; Isaac Gym heeds one such call between two steps.

        Args:
            ids: the worlds.
            poses: position and quaternion [len(ids), len(placed), 7].
            positions: of the joints [len(ids), n_joints].
        """
        states = np.zeros((*poses.shape[:2], 13))
        states[..., :3], states[..., 3:7] = poses[..., :3], poses[..., 3:][..., TO_XYZW]
        placed, jointed = (self._tensor(table[ids].ravel()) for table in (self._placed, self._jointed))
        self._roots[placed.long()] = self._tensor(states.reshape(-1, 13))
        self._dofs[ids, :, 0], self._dofs[ids, :, 1] = self._tensor(positions), 0.0
        gym, sim, unwrap = self._gym, self._sim, self._unwrap
        if placed.numel():
            gym.set_actor_root_state_tensor_indexed(sim, unwrap(self._roots), unwrap(placed), placed.numel())
        gym.set_dof_state_tensor_indexed(sim, unwrap(self._dofs), unwrap(jointed), jointed.numel())

    def push(self, body: int, wrench: Array) -> None:
        """Apply a force and a torque [num_worlds, 6] at a body's centre of mass until told otherwise."""
        column = int(np.flatnonzero(self.bodies == body)[0])
        self._force[:, column], self._torque[:, column] = self._tensor(wrench[:, :3]), self._tensor(wrench[:, 3:])
        self._pushed = True

    def let_go(self, ids: Ids) -> None:
        """Push nothing any longer in worlds `ids`."""
        self._force[ids], self._torque[ids] = 0.0, 0.0

    def step(self, targets: Array) -> None:
        """Advance one physics step per row of joint positions [nstep, num_worlds, n_joints] that the drives follow."""
        from isaacgym import gymapi

        gym, sim, unwrap = self._gym, self._sim, self._unwrap
        for row in self._tensor(targets):
            gym.set_dof_position_target_tensor(sim, unwrap(row))
            if self._pushed:  # a wrench holds for one step
                gym.apply_rigid_body_force_tensors(sim, unwrap(self._force), unwrap(self._torque), gymapi.ENV_SPACE)
            gym.simulate(sim)
            if self._gpu is None:
                gym.fetch_results(sim, True)

    def read(self) -> Motion:
        """The state after the last step; what `start` has changed since is not in it."""
        self._gym.refresh_dof_state_tensor(self._sim)
        self._gym.refresh_rigid_body_state_tensor(self._sim)
        dofs, bodies = (np.asarray(tensor.cpu(), np.float64) for tensor in (self._dofs, self._bodies))
        return Motion(dofs[..., 0], dofs[..., 1], bodies[..., :3], bodies[..., 3:7][..., TO_WXYZ])

    def write(self, ids: Ids, fields: Mapping[str, Array]) -> None:
        """Give worlds `ids` their own values [len(ids), ...] of fields of the model.

        Raises:
            UserError: a field that Isaac Gym cannot vary between worlds.
        """
        for name, values in fields.items():
            if name not in FIELDS:
                raise UserError(f"Isaac Gym cannot vary '{name}' between worlds{nearest(name, FIELDS)}")
            if name not in self.own:
                self.own[name] = np.repeat(getattr(self._model, name)[None], len(self._envs), axis=0)
            self.own[name][ids] = values
        for world in ids:
            self._set_properties(world, fields)

    def _set_properties(self, world: int, names: Iterable[str]) -> None:
        def value(name: str) -> Array:
            values: Array = self.own[name][world] if name in self.own else getattr(self._model, name)
            return values

        setters = dict.fromkeys(setter for name in names if (setter := FIELDS[name]) is not None)
        for actor, asset in zip(self._actors[world], self._assets, strict=True):
            for setter in setters:
                setter(self._properties, self._envs[world], actor, asset, value)

    def close(self) -> None:
        """End the simulation."""
        self._gym.destroy_sim(self._sim)

    def _tensor(self, values: NDArray[np.floating] | NDArray[np.int32]) -> torch.Tensor:
        import torch

        kind = torch.int32 if np.issubdtype(values.dtype, np.integer) else torch.float32
        return torch.as_tensor(np.ascontiguousarray(values), dtype=kind, device=self._device)


def _gpu(device: str) -> int | None:
    """Number of the GPU, None for the CPU."""
    kind, _, number = device.partition(":")
    if device == "cpu":
        return None
    if kind != "cuda" or not (number or "0").isdecimal():
        raise UserError(f"unknown device '{device}': give 'cpu', or 'cuda:0' for the first GPU")
    return int(number or 0)


def _made[T](thing: T | None, what: str) -> T:
    """What Isaac Gym returned; it says by None or False that it could not, and why by a line in the terminal."""
    if thing is None or thing is False:
        raise RuntimeError(f"Isaac Gym could not {what}; its own message is above")
    return thing
