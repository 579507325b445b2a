"""Reward shaping by a potential (Ng, Harada and Russell, "Policy Invariance under Reward Transformations", 1999).

    r' = r + gamma Phi(s') - Phi(s),    Phi(s') = 0 where the task ended.

Over n steps the terms telescope: the shaped return is the plain one + gamma^n Phi(s_n) - Phi(s_0). So every policy's
value changes by -Phi(s), which no action alters, and the optimal policies stay what they are. An episode that ran out
of time has not ended: what would follow counts, and Phi(s') with it. An estimate of progress that depends on what was
seen before is a potential of the history, for which the same holds (Devlin and Kudenko 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest

Array = NDArray[Any]
KINDS = ("potential", "gain", "raw")


def shaped(
    reward: Array, potential: Array, next_potential: Array, terminated: Array, *, gamma: float, scale: float = 1.0
) -> Array:
    """Return r + k (gamma Phi(s') - Phi(s)) [...], with Phi(s') = 0 where the task ended.

    Args:
        reward: r of each control step [...].
        potential: Phi(s) before it [...].
        next_potential: Phi(s') after it, before any reset [...].
        terminated: whether the task ended with it [...] bool; not where time ran out.
        gamma: discount per control step; must be the one that returns are made with.
        scale: k.
    """
    return reward + scale * (gamma * np.where(terminated, 0, next_potential) - potential)


@dataclass(frozen=True)
class Shaping:
    """What is added to a reward, and what that makes of values; see `robolearn.rl.potential.Shaping`.

    Attributes:
        kind: "potential" is `shaped`. The others are what is often done instead, to be compared with: "gain" adds
            k (Phi(s') - Phi(s)), "raw" adds k Phi(s'), with Phi(s') where the task ended, too. Both prefer other
            policies than the reward does: "raw" pays for lingering near the goal.
        scale: k >= 0.
    """

    kind: str = "potential"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"unknown shaping.kind '{self.kind}'{nearest(self.kind, KINDS)}")

    def reward(
        self, reward: Array, potential: Array, next_potential: Array, terminated: Array, *, gamma: float
    ) -> Array:
        """Reward with what is added; arguments as of `shaped`."""
        if self.kind == "potential":
            return shaped(reward, potential, next_potential, terminated, gamma=gamma, scale=self.scale)
        return reward + self.scale * (next_potential if self.kind == "raw" else next_potential - potential)

    def offset(self, potential: Array) -> Array:
        """What values at states of this potential [...] lose."""
        return potential * (0.0 if self.kind == "raw" else self.scale)

    def width(self, gamma: float) -> float:
        """Range of values at one state, where the reward alone gives values in [0, 1].

        With Phi in [0, 1] they lie in [-offset, width - offset]: gains sum up to at most 1 - Phi(s), and a raw
        potential to at most 1 / (1 - gamma).
        """
        if self.kind == "potential":
            return 1.0
        if self.kind == "gain":
            return 1.0 + self.scale
        return 1.0 + self.scale / (1.0 - gamma) if gamma < 1 else float("inf")
