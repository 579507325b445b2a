"""Records an arm at work into rosbag2 folders, from a process of its own: the control loop only copies bytes.

Needs no ROS. What other sources say reaches the process through a listener; see `robolearn.real.ros2.recording`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.protocols import Observation
from robolearn.real.bag_messages import (
    ACTION,
    CHUNK,
    COMMAND,
    INSTRUCTION,
    JUDGEMENT,
    OBSERVATION,
    SECOND,
    STATE,
)
from robolearn.real.messages import pack, packed_size
from robolearn.real.record_settings import RecordSettings, require_rosbags
from robolearn.real.recording import INCIDENTS, READY, RUNNING, About, Listener, serve
from robolearn.real.shared_ring import RingWriter
from robolearn.real.state_machine import State

CAPACITY = 4_000_000  # bytes that wait for the process at most, without pictures
STEPS = 40  # control steps whose observations wait at most, where they have pictures
START_TIMEOUT = 30.0  # s
END_TIMEOUT = 30.0  # s for the process to write what it holds


class Recorder:
    """The control loop's end; see `robolearn.real.observer.LoopObserver` for what it is told.

    Attributes:
        report: what the process said last: counts, and "recording_failed" where it had to give up.
    """

    def __init__(
        self,
        settings: RecordSettings,
        about: About,
        *,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; see `start`.

        Args:
            settings: what to record.
            about: what it is.
            listener: brings the process messages of other sources; must be importable there.
            clock: of the times that the loop says, s.
            wall: s since the epoch, which become the recordings' times.

        Raises:
            UserError: the package `rosbags` is missing.
        """
        require_rosbags()
        self.report: dict[str, Any] = {}
        self._closed = False
        self._schema, self._settings = about.schema, settings
        self._clock, self._wall = clock, wall
        self._until = -inf  # by the clock: when the recording ends that judgements go into; there was none yet
        self._context = multiprocessing.get_context("spawn")
        self._ring = RingWriter(self._context, max(CAPACITY, STEPS * packed_size(about.schema)))
        self._node, theirs = self._context.Pipe(duplex=False)
        self._process = self._context.Process(
            target=serve,
            args=(settings, about, self._ring.ring, theirs, listener),
            name="robolearn-recorder",
            daemon=True,
        )
        self._theirs = theirs
        self._synchronise()

    def start(self) -> None:
        """Start the process.

        Raises:
            UserError: it does not start, or the folder cannot be written.
        """
        folder = Path(self._settings.folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot record into {folder} ({error}): give another record_folder") from error
        if not os.access(folder, os.W_OK):
            raise UserError(f"cannot record into {folder}, which is not writable: give another record_folder")
        self._process.start()
        # the process alone has their other ends from now on, so that its end is noticed
        self._theirs.close()
        self._ring.ring.tokens.close()
        with suppress(EOFError, OSError):
            if self._node.poll(START_TIMEOUT) and self._node.recv_bytes() == READY:
                return
        self._process.kill()
        raise UserError("the recorder's process did not start: see its message above")

    def close(self) -> None:
        """End the process, and with it the present recording."""
        self._ring.close()
        self._process.join(END_TIMEOUT)
        self._receive()
        self._closed = True
        self._node.close()
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    # ------------------------------------------------------------ the control thread's

    def commanded(self, position: NDArray[np.float64]) -> None:
        """See `LoopObserver.commanded`."""
        self._put(COMMAND, self._clock(), position.tobytes())

    def observed(self, begin: float, observation: Observation) -> None:
        """See `LoopObserver.observed`."""
        self._put(OBSERVATION, begin, pack(self._schema, observation))

    def executed(self, begin: float, action: NDArray[np.float32], *, person: bool) -> None:
        """See `LoopObserver.executed`."""
        self._put(ACTION, begin, bytes((person,)) + action.astype(np.float32).tobytes())
        if person:
            self._note_incident(begin)

    def planned(self, begin: float, actions: NDArray[np.float32]) -> None:
        """See `LoopObserver.planned`."""
        self._put(CHUNK, begin, actions.astype(np.float32).tobytes())

    def changed(self, before: State, after: State, reason: str) -> None:
        """See `LoopObserver.changed`."""
        if before is State.READY and after is State.ACTIVE:
            self._synchronise()  # within an activation, times stay evenly spaced
        self._note_change(before, after)
        state = {"event": "state", "before": before, "after": after, "reason": reason}
        self._put(STATE, self._clock(), json.dumps(state).encode())

    # the recorder's process decides by the same rules, see `Keeper`, but answers nobody

    def _note_change(self, before: State, after: State) -> None:
        if after in INCIDENTS:
            self._note_incident(self._clock())
        if self._settings.mode != "all":
            return
        if before is State.READY and after is State.ACTIVE:
            self._until = inf
        elif before in RUNNING and after not in RUNNING:
            self._until = self._clock() + self._settings.after_seconds

    def _note_incident(self, when: float) -> None:
        if self._settings.mode == "incidents":
            self._until = when + self._settings.after_seconds

    def _put(self, kind: int, when: float, data: bytes, *, wait: bool = False) -> None:
        self._ring.put(kind, round(when * SECOND) + self._offset, data, wait=wait)

    def _synchronise(self) -> None:
        self._offset = round((self._wall() - self._clock()) * SECOND)

    # ------------------------------------------------------------ another thread's

    def instruct(self, instruction: str) -> None:
        """Say what the policy is told from the next activation on."""
        self._put(INSTRUCTION, self._clock(), instruction.encode(), wait=True)

    def judge(self, success: bool) -> str:
        """Say how it went; return why that is lost, "" if it is recorded."""
        now = self._clock()
        if not success:
            self._note_incident(now)
        if not (lost := self._lost(now)):
            self._put(JUDGEMENT, now, bytes((success,)), wait=True)
        return lost

    def _lost(self, now: float) -> str:
        if failure := self.statistics().get("recording_failed"):
            return f"the recorder ended: {failure}"
        if self._until == -inf:
            return "nothing was recorded"
        return "" if now < self._until else f"the recording ended {now - self._until:.1f} s ago"

    def statistics(self) -> dict[str, Any]:
        """What was recorded and what was lost: counts, and why it ended if it did."""
        self._receive()
        if not (self._closed or self._process.is_alive()):
            self.report.setdefault("recording_failed", "the recorder's process ended")
        return {**self.report, "recorder_dropped": self._ring.dropped}

    def _receive(self) -> None:
        with suppress(EOFError, OSError):
            while self._node.poll():
                self.report |= json.loads(self._node.recv_bytes())
