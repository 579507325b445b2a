"""Inference in a process of its own, so that it can never delay the control loop.

Messages are plain bytes: a header, then arrays of the channels' types, or the instruction where an activation begins
or a new one is given. `robolearn.real.transport` carries them.
The newest request wins: what waited while the process was busy is dropped. Later schemes (real-time chunking) add
fields to `Answer`, not another channel.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.acting import ChunkActor
from robolearn.errors import UserError
from robolearn.language import TASK
from robolearn.protocols import Observation
from robolearn.real.bundle import Bundle, load_bundle
from robolearn.real.realtime import use_ordinary
from robolearn.real.transport import Receiver, Sender, Slots
from robolearn.schema import Schema

Array = NDArray[np.float32]

RESET, OBSERVE, TELL, WATCH, REPLAN = range(5)  # REPLAN observes, too
REQUEST = struct.Struct("<iqq")  # kind, epoch, tick or seed
ANSWER = struct.Struct("<qqd")  # epoch, tick, s of inference
READY = b"ready"
MAX_IN_FLIGHT = 4  # unanswered requests: keeps a stuck process from filling the pipe and blocking the sender
START_TIMEOUT = 60.0  # s to load a bundle


@dataclass(frozen=True)
class Answer:
    """A plan for the observation of one tick.

    Attributes:
        epoch: which activation asked.
        tick: control step that the first action is for.
        actions: [m, action_dim]; the rest says what to do if no newer answer arrives.
        duration: s that inference took.
        person: whether it is a person's action, not the policy's.
    """

    epoch: int
    tick: int
    actions: Array
    duration: float
    person: bool = False


class InferenceWorker:
    """The control loop's end; no method ever waits, except `start` and `close`.

    Attributes:
        instruction: what a policy that reads it is told from the next activation on; the bundle's at first.
        at_once: whether a new instruction counts from the next observation on, and the policy plans anew.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Prepare to infer with `bundle`."""
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
        self._process = context.Process(
            target=serve, args=(self._path, requests, slots, answers), name="robolearn-inference", daemon=True
        )
        self._process.start()
        requests.close()
        answers.close()
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
                epoch, tick, duration = ANSWER.unpack_from(message)
                if epoch != self._epoch:
                    continue
                self._answered = tick
                values = np.frombuffer(message, np.float32, offset=ANSWER.size).reshape(-1, self._action_dim)
                newest = Answer(epoch, tick, values, duration) if len(values) else None
        return newest

    def close(self) -> None:
        """End the process."""
        self._requests.close()  # the process ends at the end of its input
        self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._answers.close()

    def _send(self, message: bytes) -> None:
        # a dead process is noticed through `alive`
        self._requests.send(message)


def pack(schema: Schema, observation: Observation) -> bytes:
    """Observation channels in the schema's order, each of its own type: pictures are bytes."""
    return b"".join(
        np.ascontiguousarray(observation[key], schema[key].array_dtype).tobytes() for key in schema.observation_keys
    )


def packed_size(schema: Schema) -> int:
    """Bytes of what `pack` makes."""
    return sum(math.prod(schema[key].shape) * schema[key].array_dtype.itemsize for key in schema.observation_keys)


def unpack(schema: Schema, data: bytes) -> dict[str, NDArray[Any]]:
    """Arrays [1, *shape] by channel from what `pack` made."""
    arrays, at = {}, 0
    for key in schema.observation_keys:
        shape, dtype = schema[key].shape, schema[key].array_dtype
        values = np.frombuffer(data, dtype, math.prod(shape), at)
        arrays[key] = values.reshape(1, *shape)
        at += values.nbytes
    return arrays


class Server:
    """The process's end: one actor, fed with requests."""

    def __init__(self, bundle: Bundle) -> None:
        """Act with the bundle's policy and correction."""
        self.schema, self.policy = bundle.schema, bundle.policy
        self.actor = ChunkActor(bundle.policy, 1, bundle.correction)
        self.epoch, self.tick = 0, -1
        self.instruction = bundle.instruction

    def warm_up(self) -> None:
        """Infer once, so that the first real answer is not late."""
        self.actor.reset([0])
        zeros = unpack(self.schema, bytes(packed_size(self.schema)))
        self.actor.act_chunk(self._told(zeros))

    def handle(self, messages: list[bytes]) -> bytes | None:
        """Apply the waiting requests: every reset, then the newest observation; return the answer, if any."""
        newest = None
        for message in messages:
            kind, epoch, number = REQUEST.unpack_from(message)
            if kind == RESET:
                self.actor.reset([number])
                self.instruction = message[REQUEST.size :].decode()
                self.epoch, self.tick, newest = epoch, -1, None
            elif kind == TELL:
                self.instruction = message[REQUEST.size :].decode()
                self.actor.replan()
            elif epoch == self.epoch:
                newest = message
                if kind == WATCH:
                    self.tick = number
                    self.actor.observe(self._told(unpack(self.schema, message[REQUEST.size :])))
                elif kind == REPLAN:
                    self.actor.replan()
        return None if newest is None else self._answer(newest)

    def _answer(self, message: bytes) -> bytes:
        kind, epoch, tick = REQUEST.unpack_from(message)
        return ANSWER.pack(epoch, tick, 0.0) if kind == WATCH else self._infer(message)

    def _infer(self, message: bytes) -> bytes:
        begin = time.perf_counter()
        _, epoch, tick = REQUEST.unpack_from(message)
        observation = self._told(unpack(self.schema, message[REQUEST.size :]))
        # ticks that were dropped still used up their actions of the chunk
        for _ in range(min(tick - self.tick - 1, self.policy.horizon)):
            self.actor.base_action(observation)
        self.tick = tick
        values = self.actor.act_chunk(observation)[0]
        return ANSWER.pack(epoch, tick, time.perf_counter() - begin) + values.astype(np.float32).tobytes()

    def _told(self, observation: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {**observation, TASK: np.array([self.instruction])}


def serve(path: Path, requests: Connection, slots: Slots, answers: Connection) -> None:
    """Run the process until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    use_ordinary()  # long computations must not keep real-time threads from a core
    with suppress(OSError):
        os.nice(-10)
    try:
        server = Server(load_bundle(path, verify=False))  # the parent has verified it
        server.warm_up()
        answers.send_bytes(READY)
        receiver = Receiver(requests, slots)
        while True:
            if (answer := server.handle(receiver.waiting())) is not None:
                answers.send_bytes(answer)
    except (EOFError, BrokenPipeError):
        return
