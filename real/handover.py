"""Between the control thread and whoever decides on actions one control step at a time, in the same process.

To the controller it is `robolearn.real.interfaces.Inference`: the observation of each control step goes in, an action
comes out. A person's action, where there is one, takes the place of the policy's. Every observation is kept until it
is taken, with what was executed before it, so that who thinks too long still learns what happened in each step.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from robolearn.protocols import Observation
from robolearn.real.control_loop import ControlLoop
from robolearn.real.controller import Controller
from robolearn.real.messages import Answer
from robolearn.real.takeover import Action

Person = Callable[[], Action | None]  # the action [action_dim] of a person who has taken over, else None


class Done(NamedTuple):
    """What the arm did in a control step.

    Attributes:
        action: that was executed, or None where none came in time.
        person: whether it was a person's.
    """

    action: Action | None = None
    person: bool = False


class Frame(NamedTuple):
    """A control step's observation, without batch axis, and what was executed in the step that it ended."""

    observation: Observation
    done: Done


class Handover:
    """Holds observations and the action for the newest one.

    Attributes:
        alive: always; see `Inference`.
        changed: notified with every observation.
    """

    alive = True

    def __init__(self, *, deadline: float, person: Person, clock: Callable[[], float] = time.monotonic) -> None:
        """Pass on actions up to `deadline` s after their observation; `person` is asked first."""
        self.changed = threading.Condition()
        self._deadline, self._person, self._clock = deadline, person, clock
        self._frames: deque[Frame] = deque()
        self._epoch, self._tick, self._asked = 0, -1, 0.0
        self._offered: Action | None = None
        self._handed, self._polled_since = Done(), False

    # ------------------------------------------------------------ the control thread's end

    def reset(self, *, epoch: int, seed: int) -> None:
        """Begin an activation: what was offered before is void."""
        with self.changed:
            self._epoch = epoch
            self._frames.clear()
            self._begin_step()

    def ask(self, tick: int, observation: Observation) -> bool:
        """Take the observation of a control step, which ends the one before."""
        with self.changed:
            # handed over in this very period, it came too late for the controller
            self._frames.append(Frame(observation, self._handed if self._polled_since else Done()))
            self._begin_step()
            self._tick, self._asked = tick, self._clock()
            self.changed.notify_all()
        return True

    def poll(self) -> Answer | None:
        """Give the action for the newest observation, once."""
        with self.changed:
            if self._handed.action is not None:
                self._polled_since = True
                return None
            action = self._person()
            person = action is not None
            if action is None and self._clock() - self._asked <= self._deadline:
                action = self._offered
            if action is None:
                return None
            self._handed = Done(action, person)
            return Answer(self._epoch, self._tick, action[None], 0.0, person=person)

    def _begin_step(self) -> None:
        self._offered, self._handed, self._polled_since = None, Done(), False

    # ------------------------------------------------------------ the policy's end

    @property
    def waiting(self) -> int:
        """Observations that were not taken yet."""
        return len(self._frames)

    @property
    def handed(self) -> Done:
        """What was handed over in the present control step, whatever came of it."""
        return self._handed

    def take(self) -> Frame | None:
        """The oldest observation that was not taken yet."""
        with self.changed:
            return self._frames.popleft() if self._frames else None

    def offer(self, action: Action) -> None:
        """Offer the action [action_dim] for the observation taken last; void if a newer one has come."""
        with self.changed:
            if not self._frames:
                self._offered = action


class Drive(Protocol):
    """What calls the controller's periods."""

    def wait(self, done: Callable[[], bool], timeout: float) -> bool:
        """Wait up to `timeout` s until `done()`; return whether it is."""

    def close(self) -> None:
        """End it."""


class Threaded:
    """The control thread of deployment."""

    def __init__(self, controller: Controller, handover: Handover) -> None:
        """Start it."""
        # a process that also runs a policy's library would lock gigabytes that it never uses
        self._loop, self._handover = ControlLoop(controller, lock=False), handover
        self._loop.start()

    def wait(self, done: Callable[[], bool], timeout: float) -> bool:
        """See `Drive.wait`.

        Raises:
            RuntimeError: the control thread failed.
        """
        limit = time.monotonic() + timeout
        with self._handover.changed:
            while not done():
                if not self._loop.running:
                    raise RuntimeError(f"the control loop ended: {self._loop.failure}")
                if time.monotonic() > limit:
                    return False
                self._handover.changed.wait(0.01)  # a change of state does not notify
        return True

    def close(self) -> None:
        """End the thread."""
        self._loop.close()
