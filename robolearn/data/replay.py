"""Replay of n-step transitions for off-policy RL, flat arrays in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]


class Replay:
    """Ring of transitions; every field is a float32 array [capacity, ...]."""

    def __init__(self, capacity: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make room for `capacity` transitions of fields with these shapes."""
        self.fields: Arrays = {key: np.zeros((capacity, *shape), np.float32) for key, shape in shapes.items()}
        self.capacity, self.size, self._next = capacity, 0, 0

    def __len__(self) -> int:
        return self.size

    def add(self, transition: Mapping[str, Any]) -> None:
        """Store one transition; the oldest goes when the ring is full."""
        for key, array in self.fields.items():
            array[self._next] = transition[key]
        self._next = (self._next + 1) % self.capacity
        self.size = min(self.size + 1, self.capacity)

    def sample(self, rng: np.random.Generator, n: int) -> Arrays:
        """Draw n transitions with replacement."""
        index = rng.integers(self.size, size=n)
        return {key: array[index] for key, array in self.fields.items()}

    def state(self) -> dict[str, NDArray[Any]]:
        """What was stored, oldest first, for a checkpoint; `restore` takes it back."""
        start = self._next if self.size == self.capacity else 0
        return {key: np.roll(array, -start, axis=0)[: self.size] for key, array in self.fields.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` returned, the newest of it where there is less room now."""
        self.size = min(len(next(iter(state.values()))), self.capacity)
        self._next = self.size % self.capacity
        for key, array in self.fields.items():
            array[: self.size] = state[key][len(state[key]) - self.size :]


class NStep:
    """Turns the steps of parallel worlds into n-step transitions.

    A transition from step t holds the return R = sum_{i<k} gamma^i r_{t+i}, the state after k steps and the
    discount gamma^k of its value: zero after a termination, kept after a truncation, where k may be < n.
    """

    def __init__(self, num_envs: int, *, n: int, gamma: float) -> None:
        """Prepare for `num_envs` worlds."""
        self.n, self.gamma = n, gamma
        self._pending: list[deque[tuple[Arrays, float]]] = [deque() for _ in range(num_envs)]

    def add(
        self,
        world: int,
        start: Mapping[str, Any],
        reward: float,
        end: Mapping[str, Any],
        *,
        terminated: bool,
        truncated: bool,
    ) -> list[dict[str, Any]]:
        """Take one step of a world and return the transitions that are now complete.

        Args:
            world: which one.
            start: fields of the state and action that the step began with.
            reward: of this step.
            end: fields of the state after it, before any reset.
            terminated: the task ended: no value after it.
            truncated: time ran out: the value of `end` counts.
        """
        pending = self._pending[world]
        pending.append((dict(start), float(reward)))
        ready = []
        while pending and (len(pending) >= self.n or terminated or truncated):
            rewards = [r for _, r in pending]
            first, _ = pending.popleft()
            discount = 0.0 if terminated else self.gamma ** len(rewards)
            total = sum(self.gamma**i * r for i, r in enumerate(rewards))
            ready.append({**first, **end, "reward": total, "discount": discount})
        return ready
