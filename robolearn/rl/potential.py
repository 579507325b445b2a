"""Reward shaping in online RL: worlds that tell a potential, episodes that are shaped by it.

The potential is stored beside the frames and the reward as it came, so that what is written is the task's own. It is
shaped when an algorithm learns from it, with the algorithm's discount.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.data.replay import Trajectory
from robolearn.errors import UserError
from robolearn.protocols import Observation, ProgressEstimator, VecEnv
from robolearn.schema import Schema

POTENTIAL = "potential"  # of frames [T + 1], and in `info` [num_envs]

Array = NDArray[Any]


class Shaping(Protocol):
    """What is added to a reward for the sake of a potential, and what that makes of values in [0, 1]."""

    def reward(
        self, reward: Array, potential: Array, next_potential: Array, terminated: Array, *, gamma: float
    ) -> Array:
        """Reward [...] of control steps from states of one potential to those of the next.

        `terminated` [...] says where the task ended, so that no state follows; `gamma` is the discount per step.
        """

    def offset(self, potential: Array) -> Array:
        """What values at states of this potential [...] lose: they lie in [-offset, width - offset]."""

    def width(self, gamma: float) -> float:
        """See `offset`."""


def reshaped(one: Trajectory, shaping: Shaping, *, gamma: float) -> Trajectory:
    """An episode with shaped rewards; its frames hold `POTENTIAL` [T + 1]."""
    potential = one.frames[POTENTIAL]
    ended = np.zeros(len(one.reward), bool)
    ended[-1] = one.terminated
    reward = shaping.reward(one.reward, potential[:-1], potential[1:], ended, gamma=gamma)
    return one._replace(reward=reward.astype(np.float32))


class PotentialEnv:
    """Worlds that also tell how far they are, as `info["potential"]` [num_envs] float32, in [0, 1].

    Everything else is theirs, the reward too. Their autoreset must be off: the potential after the last step is that of
    the true last frame, and the next one comes with the reset.
    """

    def __init__(self, env: VecEnv, estimators: Sequence[ProgressEstimator] | None = None) -> None:
        """Ask one estimator per world, which sees each of its frames once; None takes the simulator's own progress."""
        self.env, self._estimators = env, estimators
        self.num_envs, self.max_episode_steps = env.num_envs, env.max_episode_steps
        self.schema: Schema = env.schema
        self.stage_names, self.instructions = env.stage_names, env.instructions
        self._potential = np.zeros(self.num_envs, np.float32)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """See `robolearn.protocols.VecEnv.reset`; worlds that go on keep their potential."""
        observation, info = self.env.reset(seed=seed, options=options)
        mask = None if options is None else options.get("reset_mask")
        began = np.flatnonzero(np.ones(self.num_envs, bool) if mask is None else mask)
        if self._estimators is not None:
            for i in began:
                self._estimators[i].reset()
        return observation, self._told(observation, info, began)

    def step(
        self, actions: NDArray[np.floating]
    ) -> tuple[dict[str, Array], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """See `robolearn.protocols.VecEnv.step`."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        return observation, reward, terminated, truncated, self._told(observation, info, np.arange(self.num_envs))

    def close(self) -> None:
        """See `robolearn.protocols.VecEnv.close`."""
        self.env.close()

    def _told(self, observation: Observation, info: dict[str, Any], worlds: NDArray[np.intp]) -> dict[str, Any]:
        self.instructions, found = self.env.instructions, self._potential.copy()
        if self._estimators is None:
            found[worlds] = info["progress"][worlds]
        else:
            for i in worlds:
                frame = {key: values[i] for key, values in observation.items()}
                found[i] = estimated(self._estimators[i], frame, self.instructions[i])
        self._potential = found
        return {**info, POTENTIAL: found}


def estimated(estimator: ProgressEstimator, frame: Observation, instruction: str) -> float:
    """Progress up to the next frame of an episode (no batch axis).

    Raises:
        UserError: it is no number in [0, 1].
    """
    value = estimator.update(frame, instruction).value
    if not 0 <= value <= 1:
        raise UserError(f"the progress estimator says {value}, which is not in [0, 1]: train it again")
    return value
