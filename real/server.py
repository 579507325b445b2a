"""The inference process's end of the pipes where chunks are executed one after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.acting import ChunkActor
from robolearn.language import TASK
from robolearn.real.bundle import Bundle
from robolearn.real.messages import ANSWER, REPLAN, REQUEST, RESET, TELL, WATCH, packed_size, unpack

Array = NDArray[np.float32]

NOTHING: Array = np.zeros(0, np.float32)  # in answer to who only watches


class Server:
    """One actor, fed with requests."""

    def __init__(self, bundle: Bundle, *, inference_delay: float = 0.0) -> None:
        """Act with the bundle's policy and correction; each chunk takes `inference_delay` s longer."""
        self.schema, self.policy = bundle.schema, bundle.policy
        self.actor = ChunkActor(bundle.policy, 1, bundle.correction)
        self.epoch, self.tick, self.chunk = 0, -1, -1
        self.instruction = bundle.instruction
        self._delay = inference_delay

    def warm_up(self) -> None:
        """Infer once, so that the first real answer is not late."""
        self.actor.reset([0])
        zeros = unpack(self.schema, bytes(packed_size(self.schema)))
        self.actor.act_chunk(self.told(zeros))

    def handle(self, messages: list[bytes]) -> bytes | None:
        """Apply the waiting requests: every reset, then the newest observation; return the answer, if any."""
        newest = None
        for message in messages:
            kind, epoch, number = REQUEST.unpack_from(message)
            if kind == RESET:
                self.reset(number)
                self.instruction = message[REQUEST.size :].decode()
                self.epoch, self.tick, newest = epoch, -1, None
            elif kind == TELL:
                self.instruction = message[REQUEST.size :].decode()
                self.replan()
            elif epoch == self.epoch:
                newest = message
                if kind == WATCH:
                    self.tick = number
                    self.actor.observe(self._observation(message))
                elif kind == REPLAN:
                    self.replan()
        if newest is None:
            return None
        kind, _, tick = REQUEST.unpack_from(newest)
        return self.packed(NOTHING, tick=tick) if kind == WATCH else self.answer(tick, self._observation(newest))

    def reset(self, seed: int) -> None:
        """Begin an activation."""
        self.actor.reset([seed])

    def replan(self) -> None:
        """What is planned does not count any more."""
        self.actor.replan()

    def answer(self, tick: int, observation: Mapping[str, NDArray[Any]]) -> bytes | None:
        """Answer the observation [1, ...] of a control step."""
        begin = time.perf_counter()
        # ticks that were dropped still used up their actions of the chunk; nothing is inferred for what is over
        for _ in range(max(self.tick + 1, tick - self.policy.horizon), tick):
            self.actor.skip(observation)
        values = self.actor.act_chunk(observation)[0]
        if self._note(tick):
            time.sleep(self._delay)
        self.tick = tick
        return self.packed(values, duration=time.perf_counter() - begin, tick=tick)

    def packed(self, values: Array, *, tick: int, duration: float = 0.0) -> bytes:
        """The message for actions [m, action_dim] of the control steps from `tick` on."""
        return ANSWER.pack(self.epoch, tick, duration, self.chunk) + values.astype(np.float32).tobytes()

    def _observation(self, message: bytes) -> dict[str, NDArray[Any]]:
        return self.told(unpack(self.schema, message[REQUEST.size :]))

    def told(self, observation: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The observation with what the policy is told."""
        return {**observation, TASK: np.array([self.instruction])}

    def _note(self, tick: int) -> bool:
        """Note where a new chunk begins; return whether one was inferred."""
        if planned := bool(self.actor.planned.size):
            self.chunk = tick
        return planned
