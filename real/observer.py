"""Who looks at the control loop as it works, e.g. a recorder; looking must cost next to nothing."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.protocols import Observation
from robolearn.real.state_machine import State


class LoopObserver(Protocol):
    """Is told by the control thread what happens; must neither wait nor fail. Times are monotonic, s."""

    def commanded(self, position: NDArray[np.float64]) -> None:
        """A command [n_joints + 1] was sent."""

    def observed(self, begin: float, observation: Observation) -> None:
        """The control step at `begin` starts, with this observation (no batch axis)."""

    def executed(self, begin: float, action: NDArray[np.float32], *, person: bool) -> None:
        """The control step at `begin` is over: its action [action_dim], and whether it was a person's."""

    def planned(self, begin: float, actions: NDArray[np.float32]) -> None:
        """The policy answered with actions [m, action_dim] from the control step at `begin` on."""

    def changed(self, before: State, after: State, reason: str) -> None:
        """The state changed."""


class Unobserved:
    """Nobody looks; see `LoopObserver`."""

    def commanded(self, position: NDArray[np.float64]) -> None:
        """Nothing comes of it."""

    def observed(self, begin: float, observation: Observation) -> None:
        """Nothing comes of it."""

    def executed(self, begin: float, action: NDArray[np.float32], *, person: bool) -> None:
        """Nothing comes of it."""

    def planned(self, begin: float, actions: NDArray[np.float32]) -> None:
        """Nothing comes of it."""

    def changed(self, before: State, after: State, reason: str) -> None:
        """Nothing comes of it."""
