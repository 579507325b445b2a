"""What the controller asks of the arm and of inference; ROS, pipes and tests' fakes fit alike."""

from __future__ import annotations

from typing import Protocol

from robolearn.protocols import Observation, RobotIO
from robolearn.real.messages import Answer


class Robot(RobotIO, Protocol):
    """A `RobotIO` that can say cheaply, at every control period, how old its data are."""

    def age(self) -> float | None:
        """Seconds since the oldest part of the newest observation was made or, if unknown, received; None before it."""


class Inference(Protocol):
    """See `robolearn.real.worker.InferenceWorker`."""

    @property
    def alive(self) -> bool:
        """Whether answers can still come."""

    def reset(self, *, epoch: int, seed: int) -> None:
        """Begin an activation."""

    def ask(self, tick: int, observation: Observation) -> bool:
        """Hand over the observation of a tick; return whether it was taken."""

    def poll(self) -> Answer | None:
        """Newest answer since the last call."""


class PolicyInference(Inference, Protocol):
    """Inference that can stand back while a person leads."""

    def ask(self, tick: int, observation: Observation, *, replan: bool = False) -> bool:
        """Hand over the observation of a tick; with `replan` the policy plans anew from it, if it was taken."""

    def watch(self, tick: int, observation: Observation) -> bool:
        """Hand over an observation for the policy's history only."""
