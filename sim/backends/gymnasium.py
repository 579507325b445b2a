"""Any registered Gymnasium environment with box actions, by its id."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.schema import Schema
from robolearn.sim.backends.adapted import AdaptedVecEnv
from robolearn.sim.backends.gymnasium_channels import action_feature, observation_channels
from robolearn.sim.backends.gymnasium_ids import arm_of, is_metaworld_task, make_single
from robolearn.sim.backends.metaworld_shim import PREFIX
from robolearn.sim.backends.pool import Outcome

SUCCESS_KEYS = ("is_success", "success")


class GymnasiumWorld:
    """One Gymnasium environment; see `robolearn.sim.backends.pool.World` and `GymnasiumVecEnv`."""

    def __init__(
        self, env_id: str, *, fps: int | None, max_episode_steps: int | None, make_kwargs: dict[str, Any]
    ) -> None:
        """Make the environment."""
        self._env = make_single(env_id, max_episode_steps=max_episode_steps, **make_kwargs)
        self._bare, self._actions = self._env.unwrapped, self._env.action_space  # wrappers ask each other for them
        named = "env_name" in make_kwargs or is_metaworld_task(env_id)
        self._name = _words(str(make_kwargs.get("env_name", env_id))) if named else env_id
        self._channels = observation_channels(self._env.observation_space)
        features = {key: channel.feature for key, channel in self._channels.items()}
        features["action"] = action_feature(self._actions, env_id, arm_of(env_id)[1])
        self.schema = Schema(features, self._control_rate(env_id) if fps is None else fps)
        self.max_episode_steps = self._time_limit(env_id)

    def reset(self, seed: int) -> Outcome:
        """See `robolearn.sim.backends.pool.World.reset`."""
        # some wrappers draw from the environment's generator before they pass the seed on
        self._bare.np_random = seeding.np_random(seed)[0]
        observation, info = self._env.reset(seed=seed)
        return self._outcome(observation, success=_told_success(info) or False)

    def step(self, action: NDArray[np.float64]) -> Outcome:
        """See `robolearn.sim.backends.pool.World.step`."""
        space = self._actions
        observation, gained, terminated, truncated, info = self._env.step(
            action.reshape(space.shape).astype(space.dtype)
        )
        reward, told = float(gained), _told_success(info)
        success = bool(terminated) and reward > 0 if told is None else told
        return self._outcome(
            observation, success=success, reward=reward, terminated=bool(terminated), truncated=bool(truncated)
        )

    def close(self) -> None:
        """See `robolearn.sim.backends.pool.World.close`."""
        self._env.close()

    def _outcome(self, observation: Any, *, success: bool, **rest: Any) -> Outcome:
        said = getattr(self._bare, "task_description", None)
        return Outcome(
            {key: channel.read(observation) for key, channel in self._channels.items()},
            said if isinstance(said, str) else self._name,
            success=success,
            progress=float(success),
            **rest,
        )

    def _control_rate(self, env_id: str) -> int:
        dt = getattr(self._bare, "dt", None)
        rate = 1 / dt if isinstance(dt, int | float) and dt > 0 else self._env.metadata.get("render_fps")
        if rate is None:
            raise UserError(f"'{env_id}' does not say how often it is controlled: give fps, in Hz")
        return round(rate)

    def _time_limit(self, env_id: str) -> int:
        if not self._env.has_wrapper_attr("_max_episode_steps"):
            raise UserError(f"'{env_id}' has no time limit of its own: give max_episode_steps")
        return int(self._env.get_wrapper_attr("_max_episode_steps"))


def _told_success(info: dict[str, Any]) -> bool | None:
    told = [bool(info[key]) for key in SUCCESS_KEYS if key in info]
    return told[0] if told else None


def _words(name: str) -> str:
    """Meta-World's "pick-place-v3" as an instruction: "pick place"."""
    return re.sub(r"-v\d+$", "", name.rpartition("/")[2]).replace("-", " ")


def GymnasiumVecEnv(  # noqa: N802 (a constructor: users look for it by this name)
    env_id: str,
    *,
    num_envs: int = 1,
    processes: int = 0,
    fps: int | None = None,
    max_episode_steps: int | None = None,
    reward: str = "dense",
    success_ends: bool = True,
    autoreset: bool = True,
    **make_kwargs: Any,
) -> AdaptedVecEnv:
    """A registered Gymnasium environment as a `robolearn.protocols.VecEnv`.

        GymnasiumVecEnv("FetchPickAndPlace-v4", num_envs=8, processes=2)
        GymnasiumVecEnv("Meta-World/pick-place-v3", num_envs=8)  # of "Meta-World/MT1", with less around it

    Channels: see `robolearn.sim.backends.gymnasium_channels`; components are numbered and have the unit "1", since
    Gymnasium's spaces say neither names nor units.

    Success is `info["is_success"]` or `info["success"]`; in an environment that reports neither, an episode that
    terminates with a positive reward is one. Progress is 1 on success, else 0. The instruction is the environment's
    `task_description`, else its argument `env_name`, else the id.

    A world's episode depends on its seed alone as far as the environment keeps Gymnasium's contract and draws from
    its own generator; one that draws from NumPy's global one cannot be held to it.

    Args:
        env_id: as registered; "module:id" imports the module first. Known packages are imported by themselves.
        num_envs: worlds.
        processes: worker processes that step them; 0 steps all in this one. A worker knows only the ids that its
            imports register: write "module:id" for your own.
        fps: control rate in Hz; from the environment's `dt`, else its `render_fps`, when None.
        max_episode_steps: control steps until truncation; the environment's own time limit when None.
        reward: "dense" (the environment's own, whatever it is) or "sparse" (1 on success).
        success_ends: success terminates the episode, also where the environment would go on.
        autoreset: restart finished worlds within the same step; else the caller resets by mask.
        **make_kwargs: for the environment. Meta-World's `seed`, which draws its 50 goals, is 0 unless given: without
            one each world would have goals of its own.

    Raises:
        UserError: unknown id, missing package, actions that are no bounded box, or no control rate or time limit.
    """
    if env_id.startswith(PREFIX):
        make_kwargs = {"seed": 0, **make_kwargs}
    make = partial(GymnasiumWorld, env_id, fps=fps, max_episode_steps=max_episode_steps, make_kwargs=make_kwargs)
    return AdaptedVecEnv(
        make,
        num_envs=num_envs,
        processes=processes,
        reward=reward,
        success_ends=success_ends,
        autoreset=autoreset,
        task_name=env_id,
        robot=arm_of(env_id)[0],
    )
