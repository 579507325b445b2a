"""A person takes the arm over from the policy, and hands it back.

What the person wants passes through the same action space, motion and safety filter as the policy's actions. Meanwhile
the policy sees what happens; when the person lets go, it plans anew from the newest observation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.action_space import still
from robolearn.protocols import Observation
from robolearn.real.interfaces import PolicyInference
from robolearn.real.messages import Answer
from robolearn.schema import Feature, Schema

Action = NDArray[np.float32]
# from the action that moves nothing to that of a person who has taken over, or None
Takeover = Callable[[Action], Action | None]


def action_of_twist(names: Sequence[str], twist: NDArray[np.float64], width: float, *, dt: float) -> Action:
    """Action [action_dim] of an end-effector space.

    Args:
        names: of the action's components.
        twist: of the tool [6], m/s and rad/s in the base frame.
        width: of the gripper, m.
        dt: control step in s.
    """
    turns = twist[5:] if "yaw" in names else twist[3:]
    return np.array((*(dt * twist[:3]), *(dt * turns), width), np.float32)


class Person:
    """A person's action at any time, within the action's bounds."""

    def __init__(self, takeover: Takeover, feature: Feature) -> None:
        """Ask `takeover` for actions of the channel `feature`."""
        self._takeover, self._feature = takeover, feature

    def still(self, width: float) -> Action:
        """The action that moves nothing, with the gripper at `width` m."""
        return still(self._feature, width)

    def __call__(self, held: Action) -> Action | None:
        """The person's action [action_dim], None while nobody leads; `held` is the one that moves nothing."""
        action = self._takeover(held)
        return None if action is None else np.clip(action, self._feature.low, self._feature.high).astype(np.float32)


class Led:
    """A policy's inference, in whose place a person may answer; see `robolearn.real.interfaces.Inference`.

    The person is asked at every control period, and counts from then on for the present control step and until one
    begins at which nobody leads.
    """

    def __init__(self, policy: PolicyInference, person: Person, schema: Schema) -> None:
        """Let `person` take over from `policy`."""
        self._policy, self._person = policy, person
        self._width_at = schema["observation.state"].names.index("gripper_width")
        self._epoch, self._tick = 0, -1
        self._width: float | None = None  # that the gripper was sent last
        self._leads = self._answered = False
        self._replan = False  # whether the policy must still be told to plan anew

    @property
    def alive(self) -> bool:
        """Whether the policy can still answer."""
        return self._policy.alive

    def reset(self, *, epoch: int, seed: int) -> None:
        """Begin an activation."""
        self._epoch, self._tick, self._width = epoch, -1, None
        self._leads = self._answered = self._replan = False
        self._policy.reset(epoch=epoch, seed=seed)

    def ask(self, tick: int, observation: Observation) -> bool:
        """Hand over the observation of a control step, to whom it may concern."""
        self._tick, self._answered = tick, False
        if self._width is None:
            self._width = float(observation["observation.state"][self._width_at])
        self._replan |= self._leads
        self._leads = self._action() is not None
        if self._leads:
            return self._policy.watch(tick, observation)
        asked = self._policy.ask(tick, observation, replan=self._replan)
        self._replan &= not asked  # with too much unanswered nobody has heard it
        return asked

    def poll(self) -> Answer | None:
        """The person's action for the present control step, once, else what the policy answered."""
        answer = self._policy.poll()
        if self._answered:
            return None
        if (action := self._action()) is not None:
            self._leads = self._answered = True
            answer = Answer(self._epoch, self._tick, action[None], 0.0, person=True)
        if answer is not None:
            self._width = float(answer.actions[0, -1])
        return answer

    def _action(self) -> Action | None:
        return None if self._width is None else self._person(self._person.still(self._width))
