"""The Gymnasium face of a batch of worlds that other people wrote; robosuite and Gymnasium ids come through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.sim.backends.pool import Outcome, World, make_pool, stack
from robolearn.sim.vec_inputs import Seed, checked_actions, chosen_worlds, make_spaces, spread_seeds

Obs = dict[str, NDArray[Any]]
REWARDS = ("sparse", "dense")


class AdaptedVecEnv(VectorEnv[Obs, NDArray[Any], NDArray[Any]]):
    """Single worlds as one `robolearn.protocols.VecEnv` with a single stage, "task".

    The first episode of world i after a reset with seeds [s_0, s_1, ...] is the one that the environment itself
    gives for the seed s_i, so that it can be compared with anybody's; the seeds of later episodes are drawn from
    s_i, and nothing depends on `num_envs`. An integer seed s means s, s + 1, ...

    Attributes:
        task_name: what its package calls the task, e.g. "Meta-World/assembly-v3".
        robot: the arm.
    """

    def __init__(
        self,
        make: Callable[[], World],
        *,
        num_envs: int = 1,
        processes: int = 0,
        reward: str = "sparse",
        success_ends: bool = True,
        autoreset: bool = True,
        task_name: str,
        robot: str,
    ) -> None:
        """Make the worlds.

        Args:
            make: makes one of them; they must not differ.
            num_envs: worlds.
            processes: worker processes that step them; 0 steps one after the other in this process.
            reward: "sparse" (1 on success) or "dense" (the environment's own).
            success_ends: success terminates the episode. Where False only the environment ends it, as its dense
                reward may need: ending early is no gain where every step pays.
            autoreset: restart finished worlds within the same step; else the caller resets by mask.
            task_name: what its package calls the task.
            robot: the arm.

        Raises:
            UserError: a number or name that cannot be.
        """
        if reward not in REWARDS:
            raise UserError(f"unknown reward '{reward}'{nearest(reward, REWARDS)}")
        self._pool = make_pool(make, num_worlds=num_envs, processes=processes)
        self.num_envs, self.schema = num_envs, self._pool.schema
        self.task_name, self.robot = task_name, robot
        self.max_episode_steps = self._pool.max_episode_steps
        self.stage_names: tuple[str, ...] = ("task",)
        self.instructions = [""] * num_envs
        self._sparse, self._success_ends, self._autoreset = reward == "sparse", success_ends, autoreset
        mode = AutoresetMode.SAME_STEP if autoreset else AutoresetMode.DISABLED
        self.metadata = {"render_fps": self.schema.fps, "autoreset_mode": mode, "render_modes": []}
        self.single_observation_space, self.single_action_space = make_spaces(self.schema)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._low, self._high = np.array(self.schema.action.low), np.array(self.schema.action.high)
        self._rng = [np.random.default_rng(i) for i in range(num_envs)]
        self._outcomes: list[Outcome] = []
        self._elapsed = np.zeros(num_envs, np.int64)

    def reset(self, *, seed: Seed = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Start episodes; see `robolearn.protocols.VecEnv.reset`."""
        given = {i: value for i, value in enumerate(spread_seeds(seed, self.num_envs)) if value is not None}
        for i, value in given.items():
            self._rng[i] = np.random.default_rng(value)
        self._restart(chosen_worlds(options, self.num_envs), given)
        return stack([outcome.observation for outcome in self._outcomes]), self._info()

    def step(
        self, actions: NDArray[np.floating]
    ) -> tuple[Obs, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Advance one control step; see `robolearn.protocols.VecEnv.step`. Actions are clipped to their bounds."""
        if not self._outcomes:
            raise ResetNeeded("call reset() before step()")
        wanted = checked_actions(actions, self.schema.action, self.num_envs)
        self._outcomes = self._pool.step(np.clip(wanted, self._low, self._high))
        self._elapsed += 1
        info = self._info()
        terminated = np.array([outcome.terminated for outcome in self._outcomes])
        if self._success_ends:
            terminated |= info["success"]
        cut = np.array([outcome.truncated for outcome in self._outcomes])
        truncated = ~terminated & (cut | (self._elapsed >= self.max_episode_steps))
        rewards = info["success"] if self._sparse else [outcome.reward for outcome in self._outcomes]
        observation = stack([outcome.observation for outcome in self._outcomes])
        done = terminated | truncated
        if self._autoreset and done.any():
            info |= {"final_obs": observation, "_final_obs": done}
            self._restart(np.flatnonzero(done), {})
            observation = stack([outcome.observation for outcome in self._outcomes])
        return observation, np.array(rewards, np.float64), terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Close the worlds."""
        self._pool.close()

    def _restart(self, ids: NDArray[np.intp], seeds: Mapping[int, int]) -> None:
        if not self._outcomes:  # worlds that were never reset have nothing to show
            ids = np.arange(self.num_envs)
        chosen = {i: seeds[i] if i in seeds else int(self._rng[i].integers(2**31)) for i in ids.tolist()}
        started = self._pool.reset(chosen)
        self._outcomes = [started[i] if i in started else self._outcomes[i] for i in range(self.num_envs)]
        self._elapsed[ids] = 0
        for i in chosen:
            self.instructions[i] = self._outcomes[i].instruction

    def _info(self) -> dict[str, Any]:
        success = np.array([outcome.success for outcome in self._outcomes])
        progress = np.array([outcome.progress for outcome in self._outcomes], np.float64)
        return {"success": success, "stage": success.astype(np.int64), "progress": progress}
