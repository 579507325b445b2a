"""Run Meta-World 3.1 on MuJoCo 4.0, and with less waiting: the same episodes, bit for bit."""

from __future__ import annotations

import copy
import types
import warnings
from functools import cache
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest

PREFIX = "Meta-World/"
WELD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)  # Meta-World's: the hand hangs on the mocap body
FRAME = 18  # numbers that are observed of an instant: hand, gripper, two objects
POSE = 7  # of which an object has so many: position and quaternion


def load_metaworld() -> types.ModuleType:
    """Import Meta-World, patched.

    Raises:
        ModuleNotFoundError: Meta-World is not installed.
    """
    import metaworld
    from metaworld.sawyer_xyz_env import SawyerMocapBase, SawyerXYZEnv

    mocap: Any = SawyerMocapBase
    arm: Any = SawyerXYZEnv
    # a weld had 11 numbers in `mjModel.eq_data` when Meta-World was released, and has 12 now
    mocap.reset_mocap_welds = _reset_mocap_welds
    # each world parsed the scene anew, ten times slower than copying it
    mocap._initialize_simulation = _initialize_simulation
    # half of a reset's physics was thrown away, a tenth of a step went into splitting and joining small arrays
    arm.reset = _reset
    arm._get_curr_obs_combined_no_goal = _observe
    # the scripted policies ask for more than the largest step, which is as they are meant
    warnings.filterwarnings("ignore", message="Constant", module="metaworld.policies")
    return metaworld


def make_task(
    name: str, *, seed: int = 0, max_episode_steps: int | None = None, **kwargs: Any
) -> gymnasium.Env[Any, Any]:
    """What `gymnasium.make("Meta-World/MT1", env_name=name, seed=seed)` makes, without wrappers that change nothing.

    Of the 50 goals that `seed` draws, each episode's is chosen by the environment's generator, and the goal is
    observed.

    Args:
        name: e.g. "assembly-v3".
        seed: of the goals.
        max_episode_steps: Meta-World's own 500 when None.
        **kwargs: for the environment, e.g. `render_mode`.

    Raises:
        UserError: there is no such task.
    """
    metaworld = load_metaworld()
    known = metaworld.ALL_V3_ENVIRONMENTS
    if name not in known:
        raise UserError(f"unknown task '{name}' of Meta-World{nearest(name, known)}")
    env = known[name](**kwargs)
    timed = gymnasium.wrappers.TimeLimit(env, max_episode_steps or env.max_path_length)
    chosen: gymnasium.Env[Any, Any] = metaworld.RandomTaskSelectWrapper(timed, _goals(name, seed))
    return chosen


@cache
def _goals(name: str, seed: int) -> list[Any]:
    tasks: list[Any] = load_metaworld().MT1(name, seed=seed).train_tasks
    return tasks


def _reset_mocap_welds(self: Any) -> None:
    welds = self.model.eq_type == int(mujoco.mjtEq.mjEQ_WELD)
    self.model.eq_data[welds, : len(WELD)] = WELD


def _initialize_simulation(self: Any) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = copy.copy(_parsed(self.fullpath))
    screen = model.vis.global_
    screen.offwidth, screen.offheight = max(screen.offwidth, self.width), max(screen.offheight, self.height)
    return model, mujoco.MjData(model)


@cache
def _parsed(path: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(path)


def _reset(
    self: Any, seed: int | None = None, options: dict[str, Any] | None = None
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """`SawyerXYZEnv.reset`, which places everything twice, for the second time from a clean state.

    The first time only matters for what it changes in the model (where a peg stands, say): the hand need not move.
    """
    from metaworld.sawyer_xyz_env import SawyerXYZEnv

    self.curr_path_length = 0
    self._reset_hand = lambda steps=0: setattr(self, "init_tcp", self.tcp_center)
    try:
        self.reset_model()
    finally:
        del self._reset_hand
    observation, info = super(SawyerXYZEnv, self).reset()
    self._prev_obs = observation[:FRAME].copy()
    observation[FRAME : 2 * FRAME] = self._prev_obs
    return observation.astype(np.float64), info


def _observe(self: Any) -> NDArray[np.float64]:
    """`SawyerXYZEnv._get_curr_obs_combined_no_goal`."""
    between = self.data.body("rightclaw").xpos - self.data.body("leftclaw").xpos
    places, turns = self._get_pos_objects(), self._get_quat_objects()
    seen = np.zeros(FRAME)
    seen[:3] = self.get_endeff_pos()
    seen[3] = min(max(np.sqrt(between.dot(between)) / 0.1, 0.0), 1.0)
    for k in range(len(places) // 3):
        at = 4 + k * POSE
        seen[at : at + 3] = places[3 * k : 3 * k + 3]
        seen[at + 3 : at + POSE] = turns[4 * k : 4 * k + 4]
    return seen
