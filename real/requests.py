"""What other threads ask of the control thread, and how long they wait for it."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from robolearn.real.state_machine import Event

SILENT = "the control loop did not answer"


class Request(NamedTuple):
    """An event that somebody wants.

    Attributes:
        event: START, STOP, FAULT, ESTOP or RESET_ESTOP.
        reason: of a STOP, FAULT or ESTOP.
        future: "" once done (STOP, FAULT, ESTOP: at rest), else why not.
    """

    event: Event
    reason: str
    future: Future[str]


class Requests:
    """A queue of them, which an emergency stop passes."""

    def __init__(self) -> None:
        """Start empty."""
        self._waiting: SimpleQueue[Request] = SimpleQueue()
        self._urgent: SimpleQueue[Request] = SimpleQueue()

    def put(self, event: Event, reason: str) -> Future[str]:
        """Ask, from any thread."""
        future: Future[str] = Future()
        (self._urgent if event is Event.ESTOP else self._waiting).put(Request(event, reason, future))
        return future

    def get(self) -> Request | None:
        """The oldest that still counts: what could let the arm move does not where nobody waits for it any more."""
        with suppress(Empty):
            request = self._urgent.get_nowait()
            request.future.set_running_or_notify_cancel()
            return request
        with suppress(Empty):
            while True:
                request = self._waiting.get_nowait()
                if request.future.set_running_or_notify_cancel() or request.event not in (
                    Event.START,
                    Event.RESET_ESTOP,
                ):
                    return request
        return None


def outcome(future: Future[str], timeout: float) -> str:
    """Wait up to `timeout` s for what came of a request, and as long again if the control thread is at it.

    A START that was not answered is withdrawn, so that the arm cannot begin to move later, and so is a RESET_ESTOP.
    """
    for _ in range(2):
        with suppress(TimeoutError):
            return future.result(timeout)
        if future.cancel():
            break
    return SILENT


def settle(future: Future[str], result: str) -> None:
    """Give an answer to who still waits for it."""
    if not future.cancelled():
        future.set_result(result)
