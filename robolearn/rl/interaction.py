"""Worlds that an algorithm acts in, and the finished episodes that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.acting import Acting, ChunkActor
from robolearn.data.replay import Trajectory
from robolearn.language import TASK
from robolearn.protocols import VecEnv
from robolearn.rl.potential import POTENTIAL
from robolearn.rl.reads import stored
from robolearn.rl.units import Frames, Units

LEARNING_SEEDS = 1_000_000_000  # worlds that are learned from have seeds below it, those of evaluations above
BASE = "base"  # the policy's own action at a frame, before any correction
INTERVENTION = "intervention"  # [T, 1]: 1 at a frame, also of a dataset, at which a person acted, else the policy did


class Interaction:
    """A batch of worlds, advanced one control step at a time.

    Worlds may say what they executed instead of the action that they were given, as `info["action"]`
    [num_envs, action_dim], and where a person did that, as `info["intervention"]` [num_envs]: then that is stored.
    So is the potential of a frame, `info["potential"]` [num_envs], see `robolearn.rl.potential`.

    Attributes:
        steps: control steps so far, summed over the worlds.
    """

    def __init__(
        self, env: VecEnv, acting: Acting, units: Units, *, seed: int | tuple[int, ...], reads: bool = False
    ) -> None:
        """Act in every world of `env`, whose autoreset must be off; episodes begin with the first step.

        Args:
            env: the worlds.
            acting: who acts, in all worlds at once.
            units: normalisation of what is stored.
            seed: of the episodes and of the policy's noise; resumed runs and other actors need another.
            reads: whether frames also hold what the policy read; see `robolearn.rl.reads`.
        """
        self._reads = reads
        self.env, self.units, self.steps = env, units, 0
        self._correction = acting.correction
        self._actor = ChunkActor(acting.policy, env.num_envs)
        self._rng = np.random.default_rng(seed)
        self._pasts = [_Past() for _ in range(env.num_envs)]
        self._base = np.zeros((env.num_envs, *acting.policy.schema.action.shape), np.float32)
        self._frame: Frames = {}
        self._over: NDArray[np.bool_] = np.ones(env.num_envs, np.bool_)

    def step(self) -> list[Trajectory]:
        """Advance every world by one control step; return the episodes that ended with it."""
        # not when they end: a robot's reset takes a while, and what is finished should be known before
        if self._over.any():
            self._restart(self._over)
        action = self._base if self._correction is None else self._correction(self._told(), self._base)
        self._frame, reward, terminated, truncated, info = self.env.step(action)
        self.steps += self.env.num_envs
        person = info.get(INTERVENTION)
        if person is not None and person.any():
            self._actor.replan()  # what was planned before is not for where the person has led
        # the base's own action at the true last frame, too: before any reset
        self._base = self._actor.base_action(self._told())
        seen = self._seen(info)
        done = self.units.action(info.get("action", action))
        for i, past in enumerate(self._pasts):
            past.add({key: values[i] for key, values in seen.items()}, done[i], float(reward[i]))
            if person is not None:
                past.persons.append(bool(person[i]))
        self._over = terminated | truncated
        return [
            self._pasts[i].finish(terminated=bool(terminated[i]), success=bool(info["success"][i]))
            for i in np.flatnonzero(self._over)
        ]

    def _restart(self, mask: NDArray[np.bool_]) -> None:
        seeds = self._rng.integers(LEARNING_SEEDS, size=self.env.num_envs).tolist()
        self._actor.reset(seeds, mask)
        masked = [seed if chosen else None for seed, chosen in zip(seeds, mask, strict=True)]
        self._frame, info = self.env.reset(seed=masked, options={"reset_mask": mask})
        ids = np.flatnonzero(mask)
        self._base[ids] = self._actor.base_action(self._told(), ids)
        seen = self._seen(info)
        for i in ids:
            self._pasts[i].begin({key: values[i] for key, values in seen.items()})

    def _told(self) -> Frames:
        """The newest frame and what each world is asked for."""
        return {**self._frame, TASK: np.array(self.env.instructions)}

    def _seen(self, info: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """The newest frame, which came with `info`, as it is stored."""
        read = stored(self._actor.read()) if self._reads else {}
        told = {POTENTIAL: info[POTENTIAL]} if POTENTIAL in info else {}
        return {**self.units.frame(self._frame), BASE: self.units.action(self._base), **read, **told}


class _Past:
    """The present episode of a world; `persons` says of each step whether a person acted, where that is known."""

    def begin(self, frame: Mapping[str, NDArray[Any]]) -> None:
        self._frames = [frame]
        self._actions: list[NDArray[np.float32]] = []
        self._rewards: list[float] = []
        self.persons: list[bool] = []

    def add(self, frame: Mapping[str, NDArray[Any]], action: NDArray[np.float32], reward: float) -> None:
        self._frames.append(frame)
        self._actions.append(action)
        self._rewards.append(reward)

    def finish(self, *, terminated: bool, success: bool) -> Trajectory:
        frames = {key: np.stack([frame[key] for frame in self._frames]) for key in self._frames[0]}
        if self.persons:
            frames[INTERVENTION] = np.array([*self.persons, self.persons[-1]], np.float32)[:, None]
        rewards = np.array(self._rewards, np.float32)
        return Trajectory(frames, np.stack(self._actions), rewards, terminated, success)
