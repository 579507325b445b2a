"""What an arm that learns needs beside it: who looks after its scene, judges its episodes, and may take over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from robolearn.protocols import Observation


class SuccessSource(Protocol):
    """Who says how an episode ends: a button, a topic, or `Predicate`."""

    def clear(self) -> None:
        """An episode begins: forget what was said before."""

    def verdict(self, observation: Observation) -> bool | None:
        """True for success, False for a failure that ends the episode, None while it goes on."""


@dataclass(frozen=True)
class Predicate:
    """Success by what is observed (no batch axis)."""

    holds: Callable[[Observation], bool]

    def clear(self) -> None:
        """Nothing is remembered."""

    def verdict(self, observation: Observation) -> bool | None:
        """See `SuccessSource.verdict`."""
        return True if self.holds(observation) else None


class Scene(Protocol):
    """What is around the arm, and who looks after it.

    Attributes:
        goes_home: whether the arm itself goes to its home pose before the scene is arranged.
    """

    goes_home: bool

    def recover(self, reason: str) -> None:
        """Wait until somebody has seen to what interrupted an episode."""

    def arrange(self, seed: int) -> None:
        """Wait until the scene is ready for an episode; a simulated one is that of the seed."""
