"""Rollouts for on-policy RL: what was decided, what came of it, and how much better that was than expected.

A decision is a chunk of a policy that is tuned, or one control step of a residual. Every world decides anew when its
chunk is used up or its episode over; none waits for another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robolearn.acting import Acting, ChunkActor
from robolearn.language import TASK
from robolearn.protocols import VecEnv
from robolearn.rl.interaction import LEARNING_SEEDS
from robolearn.rl.potential import POTENTIAL, Shaping
from robolearn.rl.proximal import advantages
from robolearn.rl.units import Units

Frames = Mapping[str, NDArray[Any]]
Value = Callable[[dict[str, Tensor]], Tensor]


class Explorer(NamedTuple):
    """Who explores, and what there is to know about it.

    Attributes:
        acting: who acts.
        noted: gives, as tensors [n, ...], what the algorithm wants to keep of the newest decisions: of the worlds that
            planned in this control step, in their order, or of all if `every_step`.
        every_step: whether each control step is a decision, instead of each chunk.
    """

    acting: Acting
    noted: Callable[[], dict[str, Tensor]]
    every_step: bool


class Rollout(NamedTuple):
    """N decisions.

    Attributes:
        frames: normalised, when they were made [N, ...].
        note: what the algorithm wanted to keep [N, ...].
        steps: control steps for which each was executed [N].
        advantage: [N], of mean 0 and deviation 1.
        value_target: [N].
    """

    frames: dict[str, Tensor]
    note: dict[str, Tensor]
    steps: Tensor
    advantage: Tensor
    value_target: Tensor

    def part(self, index: Tensor) -> Self:
        """Some of the decisions."""
        frames, note = ({key: x[index] for key, x in named.items()} for named in (self.frames, self.note))
        return self._replace(
            frames=frames,
            note=note,
            steps=self.steps[index],
            advantage=self.advantage[index],
            value_target=self.value_target[index],
        )


class Decisions:
    """Decisions in the order in which they were made, by whatever world.

    Attributes:
        reward: sum of gamma^i r_i over the control steps of each [N].
        steps: their number [N].
        terminated: whether nothing follows it, for the task ended within it [N].
        world: where it was made [N].
        frames, note: see `Rollout`.
        after: frames that some of them led to [M, ...], and which [M]: where time ran out or the rollout ended.
    """

    def __init__(self, room: int, *, gamma: float) -> None:
        """Make room for so many."""
        self.gamma, self.count = gamma, 0
        self.reward = np.zeros(room, np.float32)
        self.steps, self.world = np.zeros((2, room), np.int64)
        self.terminated = np.zeros(room, bool)
        self.frames: list[Frames] = []
        self.note: list[dict[str, Tensor]] = []
        self.after: list[Frames] = []
        self.cut: list[NDArray[np.int64]] = []

    def add(self, worlds: NDArray[np.intp], frames: Frames, note: dict[str, Tensor]) -> NDArray[np.int64]:
        """Take decisions of these worlds; return their numbers."""
        ids = self.count + np.arange(len(worlds))
        self.world[ids] = worlds
        self.frames.append(frames)
        self.note.append(note)
        self.count += len(worlds)
        return ids

    def rewarded(self, ids: NDArray[np.int64], reward: NDArray[np.float64], terminated: NDArray[np.bool_]) -> None:
        """One more control step of these decisions."""
        self.reward[ids] += self.gamma ** self.steps[ids] * reward
        self.steps[ids] += 1
        self.terminated[ids] = terminated

    def ended(self, ids: NDArray[np.int64], after: Frames) -> None:
        """Nothing more will be known of these decisions than the frames that they led to."""
        self.cut.append(ids)
        self.after.append(after)

    def rollout(self, value: Value, *, lam: float) -> Rollout:
        """Estimate advantages with the values [n] that `value` gives of normalised frames [n, ...].

        Lambda is per control step, as gamma is: one per decision would look as many times further ahead as a chunk has
        steps, where little is left of the critic's foresight.
        """
        n = slice(self.count)
        frames = _joined(self.frames)
        worth = value(frames)
        following, over = self._following(value, worth)
        row, column = self._places()

        def table(x: Tensor) -> Tensor:
            """[N] as [decisions of a world, worlds]; where a world made fewer, nothing follows and nothing is won."""
            made = x.new_zeros((row.max() + 1, column.max() + 1))
            made[row, column] = x
            return made

        reward, terminated = torch.from_numpy(self.reward[n]), torch.from_numpy(self.terminated[n])
        steps = torch.from_numpy(self.steps[n])
        gained = advantages(
            table(reward),
            table(worth),
            table(following),
            table(over | terminated),
            table(terminated),
            gamma=table(self.gamma**steps),
            lam=table(lam**steps),
        )[row, column]
        scaled = (gained - gained.mean()) / (gained.std(unbiased=False) + 1e-8)
        note = {key: torch.cat([part[key] for part in self.note]) for key in self.note[0]}
        return Rollout(frames, note, steps, scaled, gained + worth)

    def _following(self, value: Value, worth: Tensor) -> tuple[Tensor, Tensor]:
        """Value [N] of what each decision led to, and whether the world's next decision is not it."""
        order = np.argsort(self.world[: self.count], kind="stable")
        following, over = torch.zeros_like(worth), torch.zeros_like(worth, dtype=torch.bool)
        following[order[:-1]] = worth[order[1:]]
        if self.cut:
            ids = np.concatenate(self.cut)
            following[ids] = value(_joined(self.after))
            over[ids] = True
        return following, over

    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many decisions the same world had made before each, and the world."""
        world = self.world[: self.count]
        order = np.argsort(world, kind="stable")
        first = np.searchsorted(world[order], np.arange(world.max() + 1))
        row = np.empty_like(world)
        row[order] = np.arange(self.count) - first[world[order]]
        return row, world


class Rollouts:
    """A batch of worlds in which an algorithm explores.

    Attributes:
        steps: control steps so far, summed over the worlds.
        outcomes: success of the episodes that ended during the last rollout.
    """

    def __init__(
        self,
        env: VecEnv,
        explorer: Explorer,
        units: Units,
        *,
        seed: int | tuple[int, ...],
        bootstrap_timeouts: bool,
        shaping: Shaping | None = None,
    ) -> None:
        """Start an episode in every world of `env`, whose autoreset must be off.

        Args:
            env: the worlds.
            explorer: acts, with the weights of the moment.
            units: normalisation of what is stored.
            seed: of the episodes and of the policy's noise; a resumed run needs another.
            bootstrap_timeouts: whether something follows where time ran out.
            shaping: of the rewards, where the worlds tell a potential; see `robolearn.rl.potential`.
        """
        self.env, self.units, self.steps = env, units, 0
        self.outcomes: list[bool] = []
        self._bootstrap_timeouts = bootstrap_timeouts
        self._shaping, self._potential = shaping, np.zeros(env.num_envs, np.float32)
        self._explorer = explorer
        self._actor = ChunkActor(explorer.acting.policy, env.num_envs, explorer.acting.correction)
        self._rng = np.random.default_rng(seed)
        self._frame: Frames = {}
        self._restart(np.ones(env.num_envs, bool))

    def collect(self, steps: int, value: Value, *, gamma: float, lam: float) -> Rollout:
        """Advance every world by so many control steps.

        A chunk that is not used up in the end is left: its value is that of where it led to.
        """
        made = Decisions(steps * self.env.num_envs, gamma=gamma)
        present = np.zeros(self.env.num_envs, np.int64)
        self.outcomes = []
        for t in range(steps):
            action = self._actor.act({**self._frame, TASK: np.array(self.env.instructions)})
            if (worlds := self._deciding()).size:
                present[worlds] = made.add(worlds, self._seen(worlds), self._explorer.noted())
            self._frame, reward, terminated, truncated, info = self.env.step(action)
            over = terminated | truncated
            final = terminated if self._bootstrap_timeouts else over
            made.rewarded(present, self._shaped(reward, final, info, gamma=gamma), final)
            cut = np.flatnonzero(~final & (truncated | (t == steps - 1)))
            if cut.size:
                made.ended(present[cut], self._seen(cut))
            if over.any():
                self.outcomes += info["success"][over].tolist()
                self._restart(over)
        self.steps += steps * self.env.num_envs
        if not self._explorer.every_step:
            self._actor.replan()
        return made.rollout(value, lam=lam)

    def _shaped(
        self, reward: NDArray[np.float64], final: NDArray[np.bool_], info: Mapping[str, Any], *, gamma: float
    ) -> NDArray[np.float64]:
        if self._shaping is None:
            return reward
        before, self._potential = self._potential, info[POTENTIAL]
        return self._shaping.reward(reward, before, self._potential, final, gamma=gamma)

    def _deciding(self) -> NDArray[np.intp]:
        return np.arange(self.env.num_envs) if self._explorer.every_step else self._actor.planned

    def _seen(self, worlds: NDArray[np.intp]) -> Frames:
        return self.units.frame({key: values[worlds] for key, values in self._frame.items()})

    def _restart(self, mask: NDArray[np.bool_]) -> None:
        seeds = self._rng.integers(LEARNING_SEEDS, size=self.env.num_envs).tolist()
        self._actor.reset(seeds, mask)
        masked = [seed if chosen else None for seed, chosen in zip(seeds, mask, strict=True)]
        self._frame, info = self.env.reset(seed=masked, options={"reset_mask": mask})
        if self._shaping is not None:
            self._potential = info[POTENTIAL]


def _joined(parts: Sequence[Frames]) -> dict[str, Tensor]:
    return {key: torch.from_numpy(np.concatenate([part[key] for part in parts])) for key in parts[0]}
