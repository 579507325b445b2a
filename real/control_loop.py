"""The thread that calls the controller on time: absolute deadlines, so that lateness never adds up."""

from __future__ import annotations

import gc
import logging
import threading
import time
import traceback

from robolearn.real.controller import Controller
from robolearn.real.realtime import collect_garbage, lock_memory, sleep_until, undisturbed, use_fifo
from robolearn.real.state_machine import State

log = logging.getLogger(__name__)
PRIORITY = 60  # of SCHED_FIFO: above ordinary threads, below the kernel's own


class ControlLoop:
    """Calls `controller.period` at a fixed rate in its own thread."""

    def __init__(self, controller: Controller, *, lock: bool = True) -> None:
        """Prepare the loop; `start` begins it. `lock` keeps all that the process has in memory, and all to come."""
        self.controller, self._lock = controller, lock
        self.fifo = self.locked = False
        self.failure: str | None = None
        self._length = 1.0 / controller.settings.rate
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Begin."""
        # here: what is let go of may take seconds to end, processes for one, and the thread must answer from the start
        gc.collect()
        self._thread.start()

    def close(self) -> None:
        """End the thread; the arm is left to its own time-out, so stop the controller first."""
        self._ended.set()
        self._thread.join(1.0)

    @property
    def running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def _run(self) -> None:
        self.fifo, self.locked = use_fifo(PRIORITY), self._lock and lock_memory()
        try:
            with undisturbed():
                self._loop()
        except Exception:
            # nobody joins this thread for its result: the node reports the failure
            self.failure = traceback.format_exc()
            self._come_to_rest()
            log.exception("the control loop failed")

    def _come_to_rest(self) -> None:
        """Brake after a failure, if commands can still be sent."""
        try:
            self.controller.fail("the control loop failed")
        except Exception:  # nothing may keep the arm from being braked; the state has changed by then
            log.exception("the failure could not be told")
        deadline = time.monotonic()
        try:
            while self.controller.moving:
                deadline += self._length
                sleep_until(deadline)
                self.controller.brake()
        except Exception:
            log.exception("the arm cannot be braked: it is left to its own time-out")

    def _loop(self) -> None:
        deadline, moving = time.monotonic(), False
        while not self._ended.is_set():
            if self.controller.moving is not moving:
                moving = self.controller.moving
                collect_garbage(not moving)
            deadline += self._length
            late = sleep_until(deadline)
            skipped = int(late / self._length)
            deadline += skipped * self._length
            self.controller.period(deadline)
            if self.controller.machine.state is State.ACTIVE:
                # the statistics of this activation, which the period itself may have begun
                self.controller.statistics.lateness.add(late)
                self.controller.statistics.missed += skipped
