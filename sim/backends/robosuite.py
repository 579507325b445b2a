"""robosuite's tasks as they are, with our schema: the field's benchmark for our policies and RL."""

from __future__ import annotations

from functools import partial
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.proprioception import POSE_NAMES, POSE_UNITS
from robolearn.schema import Feature, Schema
from robolearn.sim.backends.adapted import AdaptedVecEnv
from robolearn.sim.backends.pool import Outcome
from robolearn.sim.backends.robosuite_shim import load_robosuite

PREFIX = "robosuite/"  # of its tasks' names, where they stand beside others
TASKS = {  # name in robosuite: what it asks for
    "Lift": "lift the cube",
    "Stack": "put the red cube on the green cube",
    "PickPlaceCan": "put the can into its bin",
    "NutAssemblySquare": "fit the square nut onto the square peg",
    "Door": "open the door",
    "ToolHang": "assemble the frame and hang the tool on it",
}
ROBOTS = ("Panda", "Sawyer", "IIWA", "UR5e", "Kinova3")  # their default arm controller is OSC_POSE
TIMESTEP = 0.002  # robosuite's physics step, s
BUILD_SEED = 0  # what robosuite draws while it builds a scene (the size of Lift's cube) is the same in every world
ACTIONS = ("dx", "dy", "dz", "rx", "ry", "rz", "gripper")
EEF = ("robot0_eef_pos", "robot0_eef_quat")  # what relative poses are relative to
AXES = {1: ("",), 3: ("_x", "_y", "_z"), 4: ("_x", "_y", "_z", "_w")}  # by an observable's size


class RobosuiteWorld:
    """One robosuite environment; see `robolearn.sim.backends.pool.World` and `RobosuiteVecEnv`."""

    def __init__(self, task: str, *, robot: str, fps: int, max_episode_steps: int, hard_reset: bool) -> None:
        """Build the scene."""
        self.instruction, self.max_episode_steps = TASKS[task], max_episode_steps
        self._env = load_robosuite().make(
            task,
            robots=robot,
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            control_freq=fps,
            ignore_done=True,  # episodes are counted outside
            reward_shaping=True,
            hard_reset=hard_reset,
            seed=BUILD_SEED,
        )
        self._env.reset()
        arm = self._env.robots[0]
        self._eef = arm.eef_site_id["right"]
        self._joint_qpos = arm._ref_joint_pos_indexes
        self._finger_qpos = arm._ref_gripper_joint_pos_indexes["right"]
        self._has_width = _is_parallel(self._env.sim.model, arm.gripper_joints["right"])
        observables = self._env._observables
        self._objects = {k: o for k, o in observables.items() if o.modality == "object" and o.is_active()}
        self._sensors = [o for k, o in observables.items() if o.modality == "object" or k in EEF]
        self.schema = Schema(
            {
                "observation.state": _state_feature(arm, self._env.sim.model, has_width=self._has_width),
                "observation.environment_state": _object_feature({k: np.size(o.obs) for k, o in self._objects.items()}),
                "action": _action_feature(*self._env.action_spec),
            },
            fps,
        )

    def reset(self, seed: int) -> Outcome:
        """See `robolearn.sim.backends.pool.World.reset`."""
        # in place: the samplers that place the objects hold this very generator
        self._env.rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
        self._env.reset()
        return self._outcome(self._env.reward(None))

    def step(self, action: NDArray[np.float64]) -> Outcome:
        """See `robolearn.sim.backends.pool.World.step`."""
        _, reward, _, _ = self._env.step(action)
        return self._outcome(reward)

    def close(self) -> None:
        """See `robolearn.sim.backends.pool.World.close`."""
        self._env.close()

    def _outcome(self, reward: float) -> Outcome:
        success = bool(self._env._check_success())
        progress = 1.0 if success else min(max(float(reward), 0.0), 1.0)
        observation = {
            "observation.state": self._state(),
            "observation.environment_state": self._object_state(),
        }
        return Outcome(observation, self.instruction, success=success, progress=progress, reward=progress)

    def _state(self) -> NDArray[np.float32]:
        data = self._env.sim.data
        joints, fingers = data.qpos[self._joint_qpos], data.qpos[self._finger_qpos]
        gripper = [np.abs(fingers).sum()] if self._has_width else fingers
        turn = data.site_xmat[self._eef].reshape(3, 3)
        parts = (joints, gripper, data.site_xpos[self._eef], turn[:, 0], turn[:, 1])
        return np.concatenate(parts).astype(np.float32)

    def _object_state(self) -> NDArray[np.float32]:
        # robosuite computes a relative pose from the object's previous sample: zeros after a reset, a control step
        # old later on; sampled once more, all components are of one instant
        for sensor in self._sensors:
            sensor.update(0.0, self._env._obs_cache, force=True)
        return np.hstack([sensor.obs for sensor in self._objects.values()]).astype(np.float32)


def _state_feature(arm: Any, model: Any, *, has_width: bool) -> Feature:
    joints = tuple(name.removeprefix("robot0_") for name in arm.robot_joints)
    fingers: tuple[str, ...] = ("gripper_width",)
    unit: tuple[str, ...] = ("m",)
    if not has_width:
        names = arm.gripper_joints["right"]
        fingers = tuple(name.removeprefix("gripper0_right_") for name in names)
        unit = tuple("m" if _is_slide(model, name) else "rad" for name in names)
    names = (*joints, *fingers, *(f"eef_{name}" for name in POSE_NAMES))
    return Feature("float32", (len(names),), names, ("rad",) * len(joints) + unit + POSE_UNITS, "observation")


def _is_slide(model: Any, joint: str) -> bool:
    return model.jnt_type[model.joint_name2id(joint)] == mujoco.mjtJoint.mjJNT_SLIDE


def _is_parallel(model: Any, fingers: list[str]) -> bool:
    """Whether the fingers slide and meet where their joints are 0, as the Panda's do."""
    ranges = np.array([model.jnt_range[model.joint_name2id(name)] for name in fingers])
    return all(_is_slide(model, name) for name in fingers) and bool((ranges == 0.0).any(axis=1).all())


def _object_feature(sizes: dict[str, int]) -> Feature:
    names, unit = [], []
    for name, size in sizes.items():
        names += [f"{name}{axis}" for axis in AXES[size]]
        unit += [{3: "m", 4: "1"}.get(size, "rad" if name.endswith("qpos") else "1")] * size
    return Feature("float32", (len(names),), tuple(names), tuple(unit), "observation")


def _action_feature(low: NDArray[np.float64], high: NDArray[np.float64]) -> Feature:
    unit = ("1",) * len(ACTIONS)
    return Feature("float32", (len(ACTIONS),), ACTIONS, unit, "action", tuple(low.tolist()), tuple(high.tolist()))


def RobosuiteVecEnv(  # noqa: N802 (a constructor: users look for it by this name)
    task: str = "Lift",
    *,
    robot: str = "Panda",
    num_envs: int = 1,
    processes: int = 0,
    fps: int = 20,
    max_episode_steps: int = 500,
    hard_reset: bool = False,
    **options: Any,
) -> AdaptedVecEnv:
    """A robosuite task as a `robolearn.protocols.VecEnv`: its scene, placement, controller, reward and success.

    Channels, in robosuite's world frame:

    - `observation.state`: joints, gripper width (the finger joints where they are no two slides that meet at 0),
      position and orientation of the site between the fingertips;
    - `observation.environment_state`: robosuite's `object-state`, each component named after its observable;
      quaternions are (x, y, z, w); relative poses are of now, where robosuite's lag by a control step;
    - `action`: the input of the arm's OSC_POSE controller, each in [-1, 1]: 1 asks for 5 cm along or 0.5 rad about an
      axis of the base; last the gripper, which closes above 0 and opens below.

    Progress and the dense reward are robosuite's shaped reward clipped to [0, 1], and 1 on success. ToolHang has
    no shaped reward: both are 0 until success.

    Args:
        task: one of `TASKS`.
        robot: one of `ROBOTS`.
        num_envs: worlds.
        processes: worker processes, as robosuite steps one world per process; 0 steps all in this one.
        fps: control rate in Hz; a whole number of physics steps of 2 ms must fit in a control step.
        max_episode_steps: control steps until truncation; robosuite's benchmark has 500.
        hard_reset: build the scene anew at every reset (about 100 times slower), which draws the size of Lift's
            cube from the episode's seed; without it the cube has one size.
        **options: the rest of `robolearn.sim.backends.adapted.AdaptedVecEnv`'s arguments.

    Raises:
        UserError: an unknown name, an fps that does not fit, or robosuite is not installed.
    """
    if task not in TASKS:
        raise UserError(f"unknown robosuite task '{task}'{nearest(task, TASKS)}")
    robot = next((name for name in ROBOTS if name.lower() == robot.lower()), robot)  # our "panda" is their "Panda"
    if robot not in ROBOTS:
        raise UserError(f"unknown robosuite robot '{robot}'{nearest(robot, ROBOTS)}")
    if fps < 1 or abs(round(1 / (fps * TIMESTEP)) * fps * TIMESTEP - 1) > 1e-6:
        raise UserError(f"a control step of 1/{fps} s is no whole number of physics steps of {TIMESTEP} s")
    try:
        load_robosuite()
    except ModuleNotFoundError as error:
        if error.name != "robosuite":
            raise
        raise UserError("robosuite is not installed: install robolearn's extra 'robosuite'") from error
    make = partial(
        RobosuiteWorld, task, robot=robot, fps=fps, max_episode_steps=max_episode_steps, hard_reset=hard_reset
    )
    return AdaptedVecEnv(
        make, num_envs=num_envs, processes=processes, task_name=f"{PREFIX}{task}", robot=robot.lower(), **options
    )
