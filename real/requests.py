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
        event: START, STOP or FAULT.
        reason: of a STOP or FAULT.
        future: "" once done (STOP: at rest), else why not.
    """

    event: Event
    reason: str
    future: Future[str]


class Requests:
    """A queue of them."""

    def __init__(self) -> None:
        """Start empty."""
        self._waiting: SimpleQueue[Request] = SimpleQueue()

    def put(self, event: Event, reason: str) -> Future[str]:
        """Ask, from any thread."""
        future: Future[str] = Future()
        self._waiting.put(Request(event, reason, future))
        return future

    def get(self) -> Request | None:
        """The oldest that still counts: a START that nobody waits for any more does not, everything else does."""
        with suppress(Empty):
            while True:
                request = self._waiting.get_nowait()
                if request.future.set_running_or_notify_cancel() or request.event is not Event.START:
                    return request
        return None


def outcome(future: Future[str], timeout: float) -> str:
    """Wait up to `timeout` s for what came of a request, and as long again if the control thread is at it.

    A START that was not answered is withdrawn, so that the arm cannot begin to move later.
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
