"""Inference in a process of its own, so that it can never delay the control loop.

The newest request wins: what waited while the process was busy is dropped. See `robolearn.real.messages`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np

from robolearn.errors import UserError
from robolearn.execution import SEQUENTIAL, Execution
from robolearn.protocols import Observation
from robolearn.real.ahead import AheadServer, Inferred, Job
from robolearn.real.bundle import Bundle, load_bundle
from robolearn.real.messages import (
    ANSWER,
    OBSERVE,
    READY,
    REPLAN,
    REQUEST,
    RESET,
    TELL,
    WATCH,
    Answer,
    pack,
    packed_size,
)
from robolearn.real.realtime import SWITCH_INTERVAL, use_ordinary
from robolearn.real.server import Server
from robolearn.real.settings import Settings
from robolearn.real.stitching import require_fit
from robolearn.real.transport import Receiver, Sender, Slots
from robolearn.real.watching import Report, Watcher

MAX_IN_FLIGHT = 4  # unanswered requests: keeps a stuck process from filling the pipe and blocking the sender
START_TIMEOUT = 60.0  # s to load a bundle
Watch = Callable[[list[bytes]], None]


class InferenceWorker:
    """The control loop's end; no method ever waits, except `start` and `close`.

    Attributes:
        instruction: what a policy that reads it is told from the next activation on; the bundle's at first.
        at_once: whether a new instruction counts from the next observation on, and the policy plans anew.
    """

    def __init__(
        self, bundle: Bundle, execution: Execution | None = None, *, deadline: float = Settings.deadline
    ) -> None:
        """Prepare to infer with `bundle`.

        Args:
            bundle: what to infer with.
            execution: how its chunks follow each other; sequential when None.
            deadline: s after its observation until which the controller executes an answer.

        Raises:
            UserError: the bundle cannot be executed so.
        """
        self._execution, self._deadline = execution or Execution(), deadline
        require_fit(self._execution, bundle.policy)
        self.instruction, self.at_once = bundle.instruction, False
        self._told = self.instruction
        self._path, self._schema = bundle.path, bundle.schema
        self._action_dim = bundle.schema.action.shape[0]
        self._epoch = self._sent = self._answered = 0

    def start(self) -> None:
        """Start the process and wait until it has loaded the bundle and inferred once.

        Raises:
            UserError: if it does not get there.
        """
        context = multiprocessing.get_context("spawn")
        requests, pipe = context.Pipe(duplex=False)
        slots = Slots(context, size=REQUEST.size + packed_size(self._schema), count=MAX_IN_FLIGHT)
        self._requests = Sender(pipe, slots)
        self._answers, answers = context.Pipe(duplex=False)
        self._reports, reports = context.Pipe(duplex=False)
        self._process = context.Process(
            target=serve,
            args=(self._path, self._execution, self._deadline, requests, slots, answers, reports),
            name="robolearn-inference",
            daemon=True,
        )
        self._process.start()
        requests.close()
        answers.close()
        reports.close()
        with suppress(EOFError, OSError):
            if self._answers.poll(START_TIMEOUT) and self._answers.recv_bytes() == READY:
                return
        self.close()
        raise UserError(f"the inference process did not start with bundle {self._path}: see its message above")

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def reset(self, *, epoch: int, seed: int) -> None:
        """Begin an activation: forget the history; noise comes from `seed`. Answers of older epochs are dropped."""
        self._epoch, self._sent, self._answered = epoch, -1, -1
        self._told = self.instruction
        self._send(REQUEST.pack(RESET, epoch, seed) + self._told.encode())

    def ask(self, tick: int, observation: Observation, *, replan: bool = False) -> bool:
        """Hand over the observation (no batch axis) of a tick; return False if too much is unanswered already.

        With `replan` what was planned before does not count any more.
        """
        return self._observe(REPLAN if replan else OBSERVE, tick, observation)

    def watch(self, tick: int, observation: Observation) -> bool:
        """Like `ask`, for the policy's history only: the answer says nothing."""
        return self._observe(WATCH, tick, observation)

    def _observe(self, kind: int, tick: int, observation: Observation) -> bool:
        if self._sent - self._answered >= MAX_IN_FLIGHT:
            return False
        self._sent = tick
        if self.at_once and self.instruction != self._told:
            self._told = self.instruction
            self._send(REQUEST.pack(TELL, self._epoch, 0) + self._told.encode())
        self._send(REQUEST.pack(kind, self._epoch, tick) + pack(self._schema, observation))
        return True

    def poll(self) -> Answer | None:
        """Return the newest answer of this epoch that has arrived since the last call, or None."""
        newest = None
        with suppress(EOFError, OSError):
            while self._answers.poll():
                message = self._answers.recv_bytes()
                epoch, tick, duration, chunk = ANSWER.unpack_from(message)
                if epoch != self._epoch:
                    continue
                self._answered = max(self._answered, tick)  # a late chunk answers an old tick
                values = np.frombuffer(message, np.float32, offset=ANSWER.size).reshape(-1, self._action_dim)
                # a late chunk's answer, to an old tick, must not displace the one to the present tick
                if len(values) and (newest is None or tick >= newest.tick):
                    newest = Answer(epoch, tick, values, duration, chunk=chunk)
        return newest

    def reports(self) -> list[Report]:
        """Return what the bundle's monitor has said of this epoch since the last call, from any one thread."""
        found = []
        with suppress(EOFError, OSError):
            while self._reports.poll():
                found.append(Report.unpack(self._reports.recv_bytes()))
        return [report for report in found if report.epoch == self._epoch]

    def close(self) -> None:
        """End the process."""
        self._requests.close()  # the process ends at the end of its input
        self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._answers.close()
        self._reports.close()

    def _send(self, message: bytes) -> None:
        # a dead process is noticed through `alive`
        self._requests.send(message)


def serve(
    path: Path,
    execution: Execution,
    deadline: float,
    requests: Connection,
    slots: Slots,
    answers: Connection,
    reports: Connection,
) -> None:
    """Run the process until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    use_ordinary()  # long computations must not keep real-time threads from a core
    with suppress(OSError):
        os.nice(-10)
    bundle = load_bundle(path, verify=False)  # the parent has verified it
    watch = _watching(bundle, reports)
    with suppress(EOFError, BrokenPipeError):
        if execution.execution == SEQUENTIAL:
            server = Server(bundle, inference_delay=execution.inference_delay)
            _serve_in_turn(server, Receiver(requests, slots), answers, watch)
        else:
            _serve_ahead(bundle, execution, deadline, requests, slots, answers, watch)


def _watching(bundle: Bundle, reports: Connection) -> Watch:
    """What sees all requests once they are answered."""
    if bundle.monitor is None:
        return lambda _: None
    sys.setswitchinterval(SWITCH_INTERVAL)  # its thread must not keep Python's lock
    instruction, send = bundle.instruction, reports.send_bytes
    watcher = Watcher(bundle.monitor, bundle.schema, instruction=instruction, send=send)
    watcher.start()
    return watcher.handle


def _serve_in_turn(server: Server, receiver: Receiver, answers: Connection, watch: Watch) -> None:
    server.warm_up()
    answers.send_bytes(READY)
    while True:
        messages = receiver.waiting()
        if (answer := server.handle(messages)) is not None:
            answers.send_bytes(answer)
        watch(messages)


def _serve_ahead(
    bundle: Bundle,
    execution: Execution,
    deadline: float,
    requests: Connection,
    slots: Slots,
    answers: Connection,
    watch: Watch,
) -> None:
    """Infer in a thread, so that every observation is answered at once; ONNX Runtime runs without Python's lock."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    receiver = Receiver(requests, slots)
    woken, wake = multiprocessing.Pipe(duplex=False)
    with ThreadPoolExecutor(1) as thread:

        def submit(job: Job) -> Future[Inferred]:
            future = thread.submit(job)
            future.add_done_callback(lambda _: wake.send_bytes(b"done"))
            return future

        server = AheadServer(bundle, execution, deadline=deadline, submit=submit)
        server.warm_up()
        answers.send_bytes(READY)
        while True:
            ready = wait((requests, woken))
            if woken in ready:
                woken.recv_bytes()
                if (answer := server.finish()) is not None:
                    answers.send_bytes(answer)
            if requests in ready:
                messages = receiver.waiting()
                if (answer := server.handle(messages)) is not None:
                    answers.send_bytes(answer)
                watch(messages)
