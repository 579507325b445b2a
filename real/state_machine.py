"""States of the controller as a table: nothing else decides whether the arm may move."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class State(StrEnum):
    """What the controller is doing."""

    INACTIVE = "inactive"  # no fresh observation yet
    READY = "ready"  # observing, sends nothing
    ACTIVE = "active"  # the policy moves the arm
    HOLD = "hold"  # braked to a stop; goes on by itself when data are fresh again
    FAULT = "fault"  # braked to a stop; only stop and start lead out
    ESTOP = "estop"  # braked to a stop; only the reset of the emergency stop leads out


class Event(StrEnum):
    """What may change the state."""

    FRESH = "fresh"  # observation and inference are up to date
    STALE = "stale"  # an observation or a chunk is overdue
    START = "start"
    STOP = "stop"
    FAULT = "fault"  # something that must not go on by itself
    ESTOP = "estop"  # somebody wants everything to stop
    RESET_ESTOP = "reset_estop"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.INACTIVE, Event.FRESH): State.READY,
    (State.READY, Event.STALE): State.INACTIVE,
    (State.READY, Event.START): State.ACTIVE,
    (State.ACTIVE, Event.STALE): State.HOLD,
    (State.ACTIVE, Event.STOP): State.READY,
    (State.ACTIVE, Event.FAULT): State.FAULT,
    (State.HOLD, Event.FRESH): State.ACTIVE,
    (State.HOLD, Event.STOP): State.READY,
    (State.HOLD, Event.FAULT): State.FAULT,
    (State.FAULT, Event.STOP): State.INACTIVE,
    (State.ESTOP, Event.RESET_ESTOP): State.INACTIVE,
} | {(state, Event.ESTOP): State.ESTOP for state in State if state is not State.ESTOP}


class StateMachine:
    """The present state and why it was entered."""

    def __init__(self, changed: Callable[[State, State, str], object] | None = None) -> None:
        """Start inactive; `changed` is called with the state before and after each change and its reason."""
        self._changed = changed
        self.state = State.INACTIVE
        self.reason = "waiting for the first observation"

    def handle(self, event: Event, reason: str = "") -> bool:
        """Apply an event; return whether the state changed. Events without a row in the table do nothing."""
        following = TRANSITIONS.get((self.state, event))
        if following is None:
            return False
        before = self.state
        self.reason, self.state = reason, following  # in this order for who reads them from another thread
        if self._changed is not None:
            self._changed(before, following, reason)
        return True
