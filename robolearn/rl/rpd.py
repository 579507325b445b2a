"""Refined policy distillation (Jülg et al., 2025): PPO of a small student, with a term towards a large policy's action.

    L = L_PPO + w mean ||mu(o) - a*(o)||^2

at the states that the student comes to; a* is what the large policy would do there, in units of the student's actor.
The term shows the student where success is and fades with w, so that the student can become better than the policy.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robolearn.acting import Acting, ChunkActor
from robolearn.config import PPOConfig
from robolearn.errors import UserError
from robolearn.language import TASK
from robolearn.protocols import VecEnv
from robolearn.rl.interaction import LEARNING_SEEDS
from robolearn.rl.teacher import Observation, Units


class Adviser:
    """What a policy would do in each world: it plans anew at every state that it is asked about."""

    def __init__(self, acting: Acting, env: VecEnv, *, action_repeat: int, seed: int) -> None:
        """Advise in all worlds of `env`.

        Args:
            acting: the policy, with what corrects it.
            env: the worlds, of which it reads and commands some channels.
            action_repeat: control steps between two questions.
            seed: of the policy's noise.

        Raises:
            SchemaError: the worlds lack a channel of the policy.
            UserError: the policy wants frames that it would not see.
        """
        policy = acting.policy
        policy.schema.require_same(env.schema.select(policy.schema), what="the simulated task")
        if policy.n_obs_steps > 1 and action_repeat > 1:
            raise UserError(
                f"the policy of ppo.imitate reads {policy.n_obs_steps} frames in a row, but is asked at every "
                f"{action_repeat}th: give ppo.action_repeat=1"
            )
        action = policy.schema.action
        self._env, self._units = env, Units(np.array(action.low), np.array(action.high))
        self._actor = ChunkActor(policy, env.num_envs, acting.correction)
        self._rng = np.random.default_rng(seed)
        self.forget(np.ones(env.num_envs, bool))

    def forget(self, over: NDArray[np.bool_]) -> None:
        """Begin an episode in these worlds."""
        self._actor.reset(self._rng.integers(LEARNING_SEEDS, size=self._env.num_envs).tolist(), over)

    def __call__(self, observation: Observation) -> Tensor:
        """Actions [num_envs, action_dim] in [-1, 1]; of privileged actions a policy knows nothing."""
        self._actor.replan()
        action = self._actor.act({**observation, TASK: np.array(self._env.instructions)})
        return torch.from_numpy(self._units.normalised(action))


def imitation_weight(config: PPOConfig, steps: int) -> float:
    """W after so many control steps: falls evenly to 0 over `imitation_steps`."""
    if config.imitate is None:
        return 0.0
    return config.imitation_weight * max(1.0 - steps / config.imitation_steps, 0.0)
