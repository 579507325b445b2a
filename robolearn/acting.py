"""Run a chunk policy in closed loop: history, action queue, per-episode noise and a per-step correction.

Evaluation, RL and the robot all act through `ChunkActor`, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.language import TASK
from robolearn.protocols import Observation, Policy


class Correction(Protocol):
    """Changes one control step's action, e.g. a residual policy."""

    def __call__(self, observation: Observation, base_action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action [n, action_dim] to execute, from observation [n, ...] and the base's action."""


class Acting(NamedTuple):
    """Who acts: a policy that plans chunks and, where there is one, what changes its actions at every control step."""

    policy: Policy
    correction: Correction | None = None


class ChunkActor:
    """Acts for `num_envs` worlds: re-plans where the executed part of a chunk is used up.

    The starting noise of each chunk comes from a generator of the world's own, seeded at its reset, so
    that an episode does not depend on its neighbours.

    Attributes:
        planned: the worlds for which the last action was the first of a new chunk, in the order of the policy's batch.
    """

    def __init__(self, policy: Policy, num_envs: int, correction: Correction | None = None) -> None:
        """Act with `policy` in `num_envs` worlds; `correction` is applied at every control step."""
        self.policy = policy
        self.correction = correction
        self.num_envs = num_envs
        self.keys = policy.schema.observation_keys
        action_dim = policy.schema.action.shape[0]
        self._chunk = np.zeros((num_envs, policy.horizon, action_dim), np.float32)
        self._used, self._valid = (np.full(num_envs, policy.n_action_steps) for _ in range(2))
        self._fresh = np.ones(num_envs, bool)
        self._history: dict[str, NDArray[Any]] = {}
        self._told = [""] * num_envs
        self._rng = [np.random.default_rng(0) for _ in range(num_envs)]
        self.planned: NDArray[np.intp] = np.arange(0)

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """Forget history and queue of the masked worlds (all when None); `seeds` one per world."""
        chosen = np.ones(self.num_envs, bool) if mask is None else mask
        self._fresh[chosen] = True
        self._used[chosen] = self._valid[chosen]
        for i in np.flatnonzero(chosen):
            self._rng[i] = np.random.default_rng(seeds[i])

    def replan(self) -> None:
        """Drop what is left of every world's chunk; history and noise go on."""
        self._used[:] = self._valid

    def observe(self, observation: Observation) -> None:
        """Take a new frame [num_envs, ...] while somebody else acts: the history goes on."""
        self._remember(observation, np.arange(self.num_envs))

    def skip(self, observation: Observation) -> None:
        """Take a new frame [num_envs, ...] of a control step that is over: its action of the chunk is used up."""
        self.observe(observation)
        self._used = np.minimum(self._used + 1, self._valid)

    def base_action(self, observation: Observation, ids: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
        """Take a new frame [num_envs, ...] and return the base policy's action for this control step.

        Args:
            observation: the newest frame of every world; for a policy that reads it, also "task", the instruction.
            ids: worlds to act in, all when None; the others' queues stay as they are.

        Returns:
            [len(ids), action_dim].
        """
        chosen = np.arange(self.num_envs) if ids is None else ids
        self._remember(observation, chosen)
        self.planned = chosen[self._used[chosen] >= self._valid[chosen]]
        if self.planned.size:
            self._plan(self.planned)
        action = self._chunk[chosen, self._used[chosen]]
        self._used[chosen] += 1
        return action

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Take a new frame and return the action to execute, corrected."""
        base = self.base_action(observation)
        return base if self.correction is None else self.correction(observation, base)

    def act_chunk(self, observation: Observation) -> NDArray[np.float32]:
        """Like `act`, followed by the rest of each world's chunk: what to do if no newer action arrives.

        Returns:
            [num_envs, m, action_dim]; the first is this step's action, the rest is the base policy's plan.
        """
        first = self.act(observation)
        rest = self.policy.horizon - int(self._used.max())
        steps = self._used[:, None] + np.arange(rest)
        plan = self._chunk[np.arange(self.num_envs)[:, None], steps]
        return np.concatenate((first[:, None], plan), axis=1)

    def read(self) -> dict[str, NDArray[Any]]:
        """What the policy reads at the moment, [num_envs, n_obs_steps, ...]; the arrays change with the next frame."""
        told = {TASK: np.array(self._told)} if self.policy.reads_task else {}
        return {**self._history, **told}

    def _remember(self, observation: Mapping[str, NDArray[Any]], ids: NDArray[np.intp]) -> None:
        n = self.policy.n_obs_steps
        fresh = ids[self._fresh[ids]]
        for key in self.keys:
            frame = np.asarray(observation[key])
            if key not in self._history:
                self._history[key] = np.repeat(frame[:, None], n, axis=1)
            past = self._history[key]
            past[ids, :-1] = past[ids, 1:]
            past[ids, -1] = frame[ids]
            # an episode begins with its first frame repeated
            past[fresh] = frame[fresh, None]
        if self.policy.reads_task:
            for i in ids:
                self._told[i] = str(observation[TASK][i])
        self._fresh[ids] = False

    def draw(self, ids: NDArray[np.intp]) -> NDArray[np.float32] | None:
        """Draw the noise of the next chunk of the worlds `ids`, [len(ids), *noise_shape]; None if there is none."""
        if (shape := self.policy.noise_shape) is None:
            return None
        return np.stack([self._rng[i].standard_normal(shape, np.float32) for i in ids])

    def _plan(self, ids: NDArray[np.intp]) -> None:
        noise = self.draw(ids)
        observation = {key: values[ids] for key, values in self.read().items()}
        chunk = self.policy.predict_chunk(observation, noise)
        self._chunk[ids] = chunk.values
        self._valid[ids] = self.policy.n_action_steps if chunk.n_valid is None else chunk.n_valid
        self._used[ids] = 0
