"""Run episodes of given seeds in a batch of worlds; collection and evaluation both do it through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.data import layout
from robolearn.errors import UserError
from robolearn.language import TASK
from robolearn.protocols import VecEnv

Tell = Callable[[int, str], str]


class Actor(Protocol):
    """Expert or policy in closed loop, e.g. `robolearn.acting.ChunkActor`."""

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """Begin an episode in the masked worlds."""

    def act(self, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return actions [num_envs, action_dim]; `observation["task"]` is what each world is told to do."""


@dataclass
class Episode:
    """One finished episode.

    Attributes:
        seed: what it started from.
        success: whether the task was done.
        length: control steps.
        instruction: what was asked for.
        told: what the actor was told.
        frames: arrays [length, ...] of observations, `action`, `observation.stage`, `privileged.progress` and what
            `snapshot` gave; empty unless recorded. Frame t is what was seen before action t.
    """

    seed: int
    success: bool
    length: int
    instruction: str = ""
    told: str = ""
    frames: dict[str, NDArray[Any]] = field(default_factory=dict)


def run_episodes(
    env: VecEnv,
    actor: Actor,
    seeds: Sequence[int],
    *,
    record: bool = False,
    snapshot: Callable[[], Mapping[str, NDArray[Any]]] | None = None,
    on_episode: Callable[[Episode], None] | None = None,
    tell: Tell | None = None,
    linger: int = 0,
) -> list[Episode]:
    """Run one episode per seed; a world that finishes takes the next seed.

    Args:
        env: with autoreset disabled.
        actor: acts in all worlds at once.
        seeds: one per episode; results do not depend on which world an episode ran in.
        record: keep every frame.
        snapshot: extra arrays [num_envs, ...] to record with each frame, e.g. the simulator's state.
        on_episode: called as soon as each episode ends.
        tell: gives what the actor is told, from an episode's seed and its instruction; that instruction when None.
        linger: control steps for which a successful episode goes on, so that its end is seen too.

    Returns:
        Episodes in the order of `seeds`.
    """
    if not seeds:
        raise UserError("zero episodes asked for: give at least one")
    slots = _Slots(env.num_envs, seeds)
    everywhere = np.ones(env.num_envs, bool)
    observation, info = _begin(env, actor, slots, everywhere, tell)
    episodes: dict[int, Episode] = {}
    while slots.active.any():
        action = actor.act({**observation, TASK: np.array(slots.told)})
        if record:
            extra = {} if snapshot is None else snapshot()
            slots.remember({**observation, "action": action, **_judged(info), **extra})
        observation, _, terminated, truncated, info = env.step(action)
        slots.length += 1
        over = slots.linger(terminated | truncated, info["success"], linger)
        for i in np.flatnonzero(over & slots.active):
            episode = slots.finish(i, instruction=env.instructions[i])
            episodes[slots.place[i]] = episode
            if on_episode is not None:
                on_episode(episode)
        if over.any():
            slots.take_next(over)
            observation, info = _begin(env, actor, slots, over, tell)
    return [episodes[k] for k in range(len(seeds))]


def _judged(info: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What the task's predicates say of each world, as datasets keep it."""
    return {layout.STAGE: info["stage"], layout.PROGRESS: info["progress"].astype(np.float32)[:, None]}


def _begin(env: VecEnv, actor: Actor, slots: _Slots, mask: NDArray[np.bool_], tell: Tell | None) -> tuple[Any, Any]:
    actor.reset(slots.seed.tolist(), mask)
    seeds = [int(seed) if chosen else None for seed, chosen in zip(slots.seed, mask, strict=True)]
    observation, info = env.reset(seed=seeds, options={"reset_mask": mask})
    for i in np.flatnonzero(mask):
        asked = env.instructions[i]
        slots.told[i] = asked if tell is None else tell(int(slots.seed[i]), asked)
    return observation, info


class _Slots:
    """Which episode each world is running; a world without one idles on."""

    def __init__(self, num_envs: int, seeds: Sequence[int]) -> None:
        self._seeds = list(seeds)
        self._next = 0
        self.active = np.ones(num_envs, bool)
        self.place = np.zeros(num_envs, np.int64)
        self.seed = np.zeros(num_envs, np.int64)
        self.length = np.zeros(num_envs, np.int64)
        self.success = np.zeros(num_envs, bool)
        self.lingered = np.zeros(num_envs, np.int64)
        self.told = [""] * num_envs
        self._frames: list[list[dict[str, NDArray[Any]]]] = [[] for _ in range(num_envs)]
        self.take_next(self.active.copy())

    def take_next(self, mask: NDArray[np.bool_]) -> None:
        """Give the next seeds to the masked worlds."""
        for i in np.flatnonzero(mask):
            self.length[i], self.success[i], self.lingered[i] = 0, False, 0
            self._frames[i] = []
            self.active[i] = self._next < len(self._seeds)
            if self.active[i]:
                self.place[i], self.seed[i] = self._next, self._seeds[self._next]
                self._next += 1

    def remember(self, frame: Mapping[str, NDArray[Any]]) -> None:
        """Keep one frame [num_envs, ...] of the active worlds."""
        for i in np.flatnonzero(self.active):
            self._frames[i].append({key: np.array(value[i]) for key, value in frame.items()})

    def linger(self, over: NDArray[np.bool_], success: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
        """Return which episodes are over when successful ones go on for so many steps."""
        self.success |= over & success
        self.lingered += self.success
        return np.where(self.success, self.lingered > steps, over)

    def finish(self, i: np.intp, *, instruction: str) -> Episode:
        """The episode that world i has just ended."""
        frames = self._frames[i]
        stacked = {key: np.stack([frame[key] for frame in frames]) for key in frames[0]} if frames else {}
        numbers = int(self.seed[i]), bool(self.success[i]), int(self.length[i])
        return Episode(*numbers, instruction, self.told[i], stacked)
