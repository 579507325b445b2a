"""Privileged actions: a wrench on the task's objects and relaxed constraints, both scaled by a level per world.

"Learning Long-Horizon Robot Manipulation Skills via Privileged Action": what only a simulator can do helps the learner
to find the far stages of a task, and a curriculum takes it away. At level 0 a world is the plain, deployable one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.schema import Feature
from robolearn.sim.curriculum import Curriculum
from robolearn.sim.vec_env import Obs, RobotVecEnv

Array = NDArray[np.float64]
AXES = ("fx", "fy", "fz", "tx", "ty", "tz")
LEVEL = "privileged.level"
ACTION = "action.privileged"


@dataclass(frozen=True)
class Privilege:
    """What level 1 permits; every part shrinks in proportion to the level.

    Attributes:
        force: largest virtual force on an object, as a multiple of its weight.
        torque: largest virtual torque, as a share of what that force makes at the object's radius.
        reach: distance in m between tool and object up to which the wrench acts; it fades over the outer half.
        damping: damping of the objects' motion at level 1, in 1/s: a force F moves a mass m at F / (m damping).
        friction: friction of everything but the arm at level 1, as a share of the nominal one.
        margin: distance in m at which finger pads begin to touch at level 1.
        speed: joint and gripper speed and acceleration at level 1, as a multiple of the robot's.
        joint_slack: widening of the joint limits at level 1, rad.
        effort_penalty: reward lost per control step at the largest wrench and level 1.
    """

    force: float = 1.2
    torque: float = 0.3
    reach: float = 0.25
    damping: float = 40.0
    friction: float = 0.5
    margin: float = 0.002
    speed: float = 1.5
    joint_slack: float = 0.2
    effort_penalty: float = 0.0

    def __post_init__(self) -> None:
        if (
            min(self.force, self.torque, self.damping, self.margin, self.joint_slack, self.effort_penalty) < 0
            or self.reach <= 0
        ):
            raise UserError(
                "force, torque, margin, joint_slack and effort_penalty of a privilege are 0 or more, reach positive"
            )
        if not 0 < self.friction <= 1 or self.speed < 1:
            raise UserError("the friction of a privilege lies in (0, 1], its speed is at least 1")


class PrivilegedVecEnv(VectorEnv[Obs, NDArray[Any], NDArray[Any]]):
    """A `RobotVecEnv` whose actions are followed by a wrench on each movable object.

    An action is [action, action.privileged]: 6 components for each object, in N and N m. The observation gains
    `privileged.level`, which no deployable policy may read. Episodes restart within the same step.
    """

    def __init__(self, env: RobotVecEnv, curriculum: Curriculum, privilege: Privilege, *, seed: int = 0) -> None:
        """Wrap `env` (with autoreset); `seed` draws the levels of the episodes."""
        self.env, self.curriculum, self.privilege = env, curriculum, privilege
        self.num_envs, self.robot, self.task = env.num_envs, env.robot, env.task
        self.instructions, self.stage_names = env.instructions, env.stage_names
        self.max_episode_steps = env.max_episode_steps
        model = env.worlds.model
        weights = {body: float(model.body(body).mass[0] * -model.opt.gravity[2]) for body in env.task.movable}
        bounds = np.concatenate([_largest_wrench(env, body, w, privilege) for body, w in weights.items()])
        self.schema = replace(env.schema, features={**env.schema.features, **_features(env, bounds)})
        self._cap, self._relax = bounds, _Relaxation(env, privilege)
        self._rng = np.random.default_rng((seed, 3))
        self.level: Array = np.zeros(self.num_envs)
        self.metadata = {**env.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
        action = env.schema.action
        low, high = (
            np.array((*(bound or ()), *(s * bounds)), np.float32) for bound, s in ((action.low, -1), (action.high, 1))
        )
        self.single_action_space = spaces.Box(low, high, dtype=np.float32)
        self.single_observation_space = spaces.Dict(
            {**env.observation_boxes, LEVEL: spaces.Box(0.0, 1.0, (1,), dtype=np.float32)}
        )
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Start episodes; see `robolearn.protocols.VecEnv.reset`."""
        observation, info = self.env.reset(seed=seed, options=options)
        mask = (options or {}).get("reset_mask")
        self._begin(np.arange(self.num_envs) if mask is None else np.flatnonzero(mask))
        return self._with_level(observation), info

    def step(
        self, actions: NDArray[np.floating]
    ) -> tuple[Obs, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Advance one control step; `info["level"]` [num_envs] is the level each world had during it."""
        at = self.env.schema.action.shape[0]
        wanted = np.clip(np.asarray(actions[:, at:], np.float64), -self._cap, self._cap)
        wrench = wanted * self.level[:, None]
        self._apply(wrench)
        observation, reward, terminated, truncated, info = self.env.step(actions[:, :at])
        reward = reward - self.privilege.effort_penalty * ((wrench / self._cap) ** 2).mean(axis=1)
        info["level"] = self.level.copy()
        over = terminated | truncated
        if "final_obs" in info:
            info["final_obs"] = self._with_level(info["final_obs"])
        if over.any():
            self.curriculum.record(self.level[over], info["success"][over])
            self._begin(np.flatnonzero(over))
        return self._with_level(observation), reward, terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Release the worlds."""
        self.env.close()

    def _begin(self, ids: NDArray[np.intp]) -> None:
        before = self.level[ids]
        self.level[ids] = self.curriculum.draw(self._rng, len(ids))
        changed = ids[self.level[ids] != before]
        if changed.size:
            self._relax.apply(changed, self.level)

    def _apply(self, wrench: Array) -> None:
        state = self.env.worlds.state
        for k, body in enumerate(self.task.movable):
            # the wrench acts at the hand's side only: it helps a hand, it does not replace one
            gate = np.clip(2 - 2 * state.tool_distance(body) / self.privilege.reach, 0.0, 1.0)
            self.env.worlds.push(body, wrench[:, 6 * k : 6 * k + 6] * gate[:, None])

    def _with_level(self, observation: Obs) -> Obs:
        return {**observation, LEVEL: self.level[:, None].astype(np.float32)}


class _Relaxation:
    """Writes the relaxed constraints of worlds into their models."""

    def __init__(self, env: RobotVecEnv, privilege: Privilege) -> None:
        model = env.worlds.model
        self._env, self._privilege = env, privilege
        self._friction, self._margin = model.geom_friction.copy(), model.geom_margin.copy()
        self._range, self._damping = model.jnt_range.copy(), model.dof_damping.copy()
        # of two geoms in contact the larger friction counts, so tables and shelves must give way too
        arm = model.body_rootid[model.site_bodyid[model.site("tool").id]]
        self._objects = np.flatnonzero(model.body_rootid[model.geom_bodyid] != arm)
        self._pads = np.array([model.geom(f"{name}_pad").id for name in env.robot.gripper_joints])
        self._dofs = np.concatenate([np.arange(6) + model.joint(name).dofadr[0] for name in env.task.movable])
        self._mass = np.concatenate([(*(model.body(n).mass[0],) * 3, *model.body(n).inertia) for n in env.task.movable])
        self._joints = np.array([model.joint(name).id for name in env.robot.joint_names])

    def apply(self, ids: NDArray[np.intp], level: Array) -> None:
        """Set the models of worlds `ids` to their level [num_envs]."""
        n, share = len(ids), level[ids]
        friction = np.repeat(self._friction[None], n, axis=0)
        friction[:, self._objects] *= (1 - share * (1 - self._privilege.friction))[:, None, None]
        margin = np.repeat(self._margin[None], n, axis=0)
        margin[:, self._pads] += (share * self._privilege.margin)[:, None]
        limits = np.repeat(self._range[None], n, axis=0)
        slack = share * self._privilege.joint_slack
        limits[:, self._joints, 0] -= slack[:, None]
        limits[:, self._joints, 1] += slack[:, None]
        damping = np.repeat(self._damping[None], n, axis=0)
        damping[:, self._dofs] += share[:, None] * self._privilege.damping * self._mass
        fields = {"geom_friction": friction, "geom_margin": margin, "jnt_range": limits, "dof_damping": damping}
        self._env.worlds.write_model(ids, fields)
        self._env.relax(ids, speed=1 + share * (self._privilege.speed - 1), joint_slack=slack)


def _largest_wrench(env: RobotVecEnv, body: str, weight: float, privilege: Privilege) -> Array:
    """Bounds [6] of the wrench on an object of `weight` N."""
    model = env.worlds.model
    radius = float(model.geom_rbound[model.geom_bodyid == model.body(body).id].max())
    force = privilege.force * weight
    return np.array((*(force,) * 3, *(privilege.torque * force * radius,) * 3))


def _features(env: RobotVecEnv, bounds: Array) -> dict[str, Feature]:
    names = tuple(f"{body}_{axis}" for body in env.task.movable for axis in AXES)
    unit = (*("N",) * 3, *("N m",) * 3) * len(env.task.movable)
    high = tuple(bounds.tolist())
    wrench = Feature("float32", (len(names),), names, unit, "privileged", tuple(-h for h in high), high)
    return {ACTION: wrench, LEVEL: Feature("float32", (1,), ("level",), ("1",), "privileged", (0.0,), (1.0,))}
