"""Adaptive curriculum: how much privilege the learner still has."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Curriculum:
    """One level for all worlds, lowered as the learner succeeds and raised where its success collapses.

    A share of the episodes always runs at levels below, down to the plain world, so that the learner never loses sight
    of the task that counts and finds while it still explores what the privilege does for it at present; success at the
    level is judged on the others.

    Attributes:
        level: present privilege in [0, 1]; 0 is the plain, deployable world.
        step: change of the level.
        lower_at: success rate at the level from which it is lowered.
        raise_at: success rate below which it is raised again; never above 1.
        window: episodes at the level over which success is counted.
        below_share: share of the episodes at levels drawn uniformly between 0 and the present one.
    """

    level: float = 1.0
    step: float = 0.04
    lower_at: float = 0.7
    raise_at: float = 0.2
    window: int = 100
    below_share: float = 0.5
    _outcomes: deque[bool] = field(default_factory=deque, repr=False)

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Levels [n] of episodes that begin now."""
        return self.level * np.where(rng.random(n) < self.below_share, rng.random(n), 1.0)

    def record(self, levels: NDArray[np.float64], successes: NDArray[np.bool_]) -> None:
        """Take note of episodes that ended: the level each had [n], whether it was a success [n]."""
        self._outcomes.extend(successes[levels == self.level].tolist())
        while len(self._outcomes) > self.window:
            self._outcomes.popleft()
        if len(self._outcomes) < self.window:
            return
        rate = self.success_rate
        if rate >= self.lower_at and self.level > 0.0:
            self._move(-self.step)
        elif rate < self.raise_at and 0.0 < self.level < 1.0:
            self._move(self.step)

    @property
    def success_rate(self) -> float:
        """Share of successes among the last episodes at the level; 0 before the first."""
        return sum(self._outcomes) / len(self._outcomes) if self._outcomes else 0.0

    def state(self) -> dict[str, Any]:
        """Plain data that `restore` reads back."""
        return {"level": self.level, "outcomes": list(self._outcomes)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.level, self._outcomes = float(state["level"]), deque(state["outcomes"])

    def _move(self, step: float) -> None:
        self.level = round(min(max(self.level + step, 0.0), 1.0), 9)
        self._outcomes.clear()
