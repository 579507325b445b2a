"""A bundle's monitor beside inference: in a thread of the inference process that nothing waits for.

What is slow or fails here is told, and changes nothing else: no chunk waits for it, no arm stops because of it.
"""

from __future__ import annotations

import math
import os
import queue
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Self

from robolearn.monitoring import OUTCOMES, Monitor, Verdict
from robolearn.real.messages import REQUEST, RESET, TELL, WATCH, unpack
from robolearn.real.monitor import Watching
from robolearn.schema import Progress, Schema

MOST_WAITING = 40  # frames; further ones are left out until it has caught up
NICE = 10  # of its thread: chunks come first
HEADER = struct.Struct("<qq?iddiidid")  # as the fields of `Report`; then the fault's text


class Report(NamedTuple):
    """What the monitor says of a frame.

    Attributes:
        epoch: activation.
        tick: control step.
        person: whether a person led.
        progress: what the estimator says.
        verdict: on the episode so far; an activation after a hold begins anew.
        kind: place of the likeliest kind of failure among those that the bundle tells, -1 for none of them.
        kind_probability: of it; 0 where none is told.
        fault: why nothing is known of this frame, or that others were left out; "" if all is well.
    """

    epoch: int
    tick: int
    person: bool
    progress: Progress
    verdict: Verdict
    kind: int
    kind_probability: float
    fault: str

    def pack(self) -> bytes:
        """Return bytes; `unpack` reads them back."""
        stage, value, success = self.progress.stage, self.progress.value, self.progress.success
        outcome, where, confidence = self.verdict
        numbers = (stage, value, success, OUTCOMES.index(outcome), where, confidence, self.kind, self.kind_probability)
        return HEADER.pack(self.epoch, self.tick, self.person, *numbers) + self.fault.encode()

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read what `pack` wrote."""
        epoch, tick, person, stage, value, success, code, where, sure, kind, likely = HEADER.unpack_from(data)
        progress, verdict = Progress(stage, value, success), Verdict(OUTCOMES[code], where, sure)
        return cls(epoch, tick, person, progress, verdict, kind, likely, data[HEADER.size :].decode(errors="replace"))


class Watcher:
    """Sees all requests that inference gets, and reports on each observation."""

    def __init__(
        self, watching: Watching, schema: Schema, *, instruction: str, send: Callable[[bytes], object]
    ) -> None:
        """Prepare; see `start`.

        Args:
            watching: the bundle's monitor.
            schema: of the observations.
            instruction: until another is told.
            send: takes each packed `Report`; it may block.
        """
        self._estimator, self._monitor = watching.estimator, Monitor(watching.settings)
        self._schema, self._instruction, self._send = schema, instruction, send
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="robolearn-monitor", daemon=True)
        self._epoch, self._fault = 0, ""
        self._left_out = 0  # frames, written by who calls `handle`

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread once it has seen what waits."""
        self._waiting.put(None)
        self._thread.join()

    def handle(self, messages: list[bytes]) -> None:
        """Take requests; never waits."""
        for message in messages:
            kind, _, _ = REQUEST.unpack_from(message)
            if kind == RESET:
                self._left_out = 0
            if kind in (RESET, TELL) or self._waiting.qsize() < MOST_WAITING:
                self._waiting.put(message)
            else:
                self._left_out += 1

    def _run(self) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        with suppress(OSError):  # nobody is left who listens
            while (message := self._waiting.get()) is not None:
                self._see(message)

    def _see(self, message: bytes) -> None:
        kind, epoch, number = REQUEST.unpack_from(message)
        if kind in (RESET, TELL):
            self._instruction = message[REQUEST.size :].decode()
            if kind == RESET:
                self._begin(epoch)
        elif epoch == self._epoch:
            self._send(self._report(number, message[REQUEST.size :], person=kind == WATCH).pack())

    def _begin(self, epoch: int) -> None:
        self._epoch, self._fault = epoch, ""
        self._estimator.reset()
        self._monitor.reset()
        self._last = Progress(0, 0.0, 0.0), Verdict(OUTCOMES[0], 0, 0.0)

    def _report(self, tick: int, data: bytes, *, person: bool) -> Report:
        if not self._fault:
            self._fault = self._update(data)
        fault = self._fault
        if not fault and self._left_out:
            fault = f"{self._left_out} frames were left out: it is too slow"
        kind = self._estimator.kind
        likeliest = int(kind.argmax()) if len(kind) else 0
        probability = float(kind[likeliest]) if len(kind) else 0.0
        return Report(self._epoch, tick, person, *self._last, likeliest - 1, probability, fault)

    def _update(self, data: bytes) -> str:
        """See a frame; return why that is not possible."""
        try:
            frame = {key: values[0] for key, values in unpack(self._schema, data).items()}
            progress = self._estimator.update(frame, self._instruction)
        except Exception as error:  # whatever it is, inference goes on
            return f"it failed: {error}"
        if not (math.isfinite(progress.value) and math.isfinite(progress.success)):
            return "it gave a progress that is no number"
        self._last = progress, self._monitor.update(progress)
        return ""
