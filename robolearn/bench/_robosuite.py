"""The `Lift` of robosuite: as it is, and its compiled model in our batch of worlds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from robolearn.bench._lift import EPISODE_STEPS, FPS, SEED
from robolearn.bench._turns import Turn, turn
from robolearn.robot import RobotSpec
from robolearn.sim.backends.mujoco import CTRL
from robolearn.sim.backends.poses import LoosePoses
from robolearn.sim.backends.robosuite_shim import load_robosuite
from robolearn.sim.robots.panda import LAG, PANDA, STIFFNESS
from robolearn.sim.state import WorldState
from robolearn.sim.tasks import make_task

Array = NDArray[np.float64]
CUBE = "cube_main"
PLACEMENT = 0.03  # m around the middle of the table, where robosuite puts the cube
HOME_NOISE = 0.02  # rad, standard deviation of the arm's start in robosuite


def make_lift(*, camera: bool = False) -> Any:
    """The environment at its fastest: state observations, no window, soft resets; with its dense reward."""
    return load_robosuite().make(
        "Lift",
        robots="Panda",
        has_renderer=False,
        has_offscreen_renderer=camera,
        use_camera_obs=False,
        reward_shaping=True,
        control_freq=FPS,
        horizon=EPISODE_STEPS,
        hard_reset=False,
        seed=SEED,
    )


def random_step(env: Any) -> Callable[[], int]:
    """A control step with a uniform action, and a reset where the episode is over."""
    env.reset()
    rng = np.random.default_rng(SEED)
    low, high = env.action_spec

    def step() -> int:
        *_, done, _ = env.step(rng.uniform(low, high))
        if done:
            env.reset()
        return 1

    return step


def robosuite_lift() -> Turn:
    """Episodes in robosuite."""
    return turn(random_step(make_lift()))


class RobosuiteWorlds:
    """The compiled model of robosuite's `Lift` in a batch, as a `robolearn.sim.vec_env.WorldBatch` of our `lift`.

    Geometry, contacts, solver and the step of 2 ms are robosuite's. Its motors, which its controller drives from Python
    at every physics step, become position servos with the stiffness of our Panda. The base frame has z = 0 on the
    table. Wrenches and models that differ between worlds are left out.
    """

    def __init__(self, source: mujoco.MjModel, num_worlds: int, *, threads: int = 1) -> None:
        """Copy robosuite's model and turn its motors into servos."""
        self.model, self.task, self.num_worlds = with_servos(source), make_task("lift"), num_worlds
        self.robot = robosuite_panda(source)
        self.variant: NDArray[np.int64] = np.zeros(num_worlds, np.int64)
        self._batch = Batch(self.model, nsim=num_worlds, nthread=threads)
        bind, model = self._batch.bind, self.model
        self.qpos: Array = bind("qpos")
        self._qvel: Array = bind("qvel")
        self._arm = np.array([model.joint(name).qposadr[0] for name in self.robot.joint_names])
        self._fingers = np.array([model.joint(name).qposadr[0] for name in self.robot.gripper_joints])
        self._cube_at = int(model.joint("cube_joint0").qposadr[0])
        self._half = np.tile(model.geom("cube_g0").size, (num_worlds, 1, 1))
        self._origin = origin(model)
        self._mocap: tuple[Array, Array] = bind("mocap_pos"), bind("mocap_quat")
        self._loose = LoosePoses(model, self.robot, [CUBE])

    def reset(self, seeds: Sequence[Any], ids: NDArray[np.intp] | None = None) -> None:
        """Start episodes as robosuite does: the arm around its home, the cube around the middle of the table."""
        chosen = np.arange(self.num_worlds) if ids is None else ids
        self._batch.reset(chosen, stage=mujoco.mjtStage.mjSTAGE_NONE)
        for i, seed in zip(chosen, seeds, strict=True):
            rng = np.random.default_rng(seed)
            self.qpos[i, self._arm] = self.robot.home + HOME_NOISE * rng.standard_normal(self.robot.n_joints)
            self.qpos[i, self._fingers] = self._split(np.array(self.robot.gripper_width))
            x, y = rng.uniform(-PLACEMENT, PLACEMENT, 2)
            yaw = rng.uniform(-np.pi, np.pi)
            height = self._origin[2] + self._half[0, 0, 2]
            turned = (np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))
            self.qpos[i, self._cube_at : self._cube_at + 7] = (x, y, height, *turned)
        self._batch.bind("ctrl")[chosen] = self.controls(self.command_here()[chosen])

    def command_here(self) -> Array:
        """The command [num_worlds, n_joints + 1] that holds the present pose."""
        return np.concatenate((self.qpos[:, self._arm], self._width()[:, None]), axis=1)

    def controls(self, command: Array) -> Array:
        """Controls [..., nu] for commands [..., n_joints + 1]."""
        return np.concatenate((command[..., :-1], self._split(command[..., -1])), axis=-1)

    def follow_step(self, controls: Array) -> None:
        """Advance one physics step per row of commands [num_worlds, nstep, n_joints + 1]."""
        self._batch.rollout(controls.shape[1], control=self.controls(controls), control_spec=CTRL, record=())

    @property
    def state(self) -> WorldState:
        """Copies of the present state."""
        tool_pos, tool_quat = self._loose.tool(self.qpos)
        pos, quat = self._loose.bodies(self.qpos, *self._mocap)
        return WorldState(
            joints=self.qpos[:, self._arm],
            joint_velocities=self._qvel[:, self._arm],  # hinges and slides come first: their addresses are the same
            width=self._width(),
            tool_pos=tool_pos,  # the chain of `robosuite_panda` begins at the origin
            tool_quat=tool_quat,
            body_pos=pos - self._origin,
            body_quat=quat,
            half=self._half,
            variant=self.variant,
            names={"cube": 0},
        )

    def close(self) -> None:
        """Drop the batch, and with it the threads."""
        del self._batch

    def _width(self) -> Array:
        return self.qpos[:, self._fingers] @ (1.0, -1.0)

    def _split(self, width: Array) -> Array:
        """Positions [..., 2] of the fingers, which open in opposite directions."""
        return width[..., None] * (0.5, -0.5)


def origin(model: mujoco.MjModel) -> Array:
    """The point [3] of the table's top below the arm's base, m."""
    return np.array((*model.body("robot0_base").pos[:2], model.body("table").pos[2] + model.site("table_top").pos[2]))


def robosuite_panda(model: mujoco.MjModel) -> RobotSpec:
    """Our Panda with the base, hand and home of robosuite's."""
    height = model.body("robot0_base").pos[2] - origin(model)[2]
    (x, y, z), *rest = PANDA.chain.pos
    hand, fingertips = model.body("robot0_right_hand"), model.body("gripper0_right_eef").pos
    chain = replace(
        PANDA.chain,
        pos=((x, y, z + height), *rest),
        tool_pos=tuple((hand.pos + fingertips).tolist()),
        tool_quat=tuple((hand.quat / np.linalg.norm(hand.quat)).tolist()),
    )
    return replace(
        PANDA,
        joint_names=tuple(f"robot0_joint{i}" for i in range(1, 8)),
        gripper_joints=tuple(f"gripper0_right_finger_joint{i}" for i in (1, 2)),
        chain=chain,
        home=(0.0, np.pi / 16, 0.0, -np.pi * 5 / 6, 0.0, np.pi - 0.2, np.pi / 4),
    )


def with_servos(source: mujoco.MjModel) -> mujoco.MjModel:
    """A copy whose seven motors follow positions; the fingers' do already."""
    model = copy.copy(source)
    stiffness = np.array(STIFFNESS)
    model.actuator_gainprm[:7, 0] = stiffness
    model.actuator_biasprm[:7, 1:3] = -np.stack((stiffness, stiffness * LAG), axis=1)
    model.actuator_biastype[:7] = mujoco.mjtBias.mjBIAS_AFFINE
    model.actuator_ctrllimited[:7] = False
    model.actuator_forcelimited[:7] = True
    model.actuator_forcerange[:7] = source.actuator_ctrlrange[:7]
    return model
