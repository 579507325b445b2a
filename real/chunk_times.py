"""How long it takes from an observation to the first command of the chunk that was inferred from it, by stage."""

from __future__ import annotations

from typing import NamedTuple

from robolearn.real.messages import Answer

MEMORY = 64  # control steps for which a chunk may be on its way


class Stages(NamedTuple):
    """Parts of the way in s.

    Attributes:
        observation: its age when it went to inference.
        transport: there and back, waiting included.
        inference: itself.
        command: from then until the first command of the chunk.
    """

    observation: float
    transport: float
    inference: float
    command: float


class _Arrived(NamedTuple):
    chunk: int
    inference: float
    when: float


class ChunkTimes:
    """Follows the newest chunk; one that is overtaken before a command has used it does not count."""

    def __init__(self) -> None:
        """Start with nothing on its way."""
        self.begin()

    def begin(self) -> None:
        """An activation begins."""
        self._asked: dict[int, tuple[float, float]] = {}  # by control step: when it was observed and asked, s
        self._newest = -1
        self._arrived: _Arrived | None = None

    def ask(self, step: int, *, observed: float, now: float) -> None:
        """The observation of a control step goes to inference now; it was made when `observed` says. Monotonic, s."""
        self._asked[step] = observed, now
        self._asked.pop(step - MEMORY, None)

    def arrive(self, answer: Answer, now: float) -> None:
        """An answer has come now."""
        if not answer.person and answer.chunk > self._newest and answer.chunk in self._asked:
            self._newest = answer.chunk
            self._arrived = _Arrived(answer.chunk, answer.duration, now)

    def send(self, chunk: int, now: float) -> Stages | None:
        """A command with an action of a chunk goes out now; return its stages if it is the chunk's first."""
        arrived = self._arrived
        if arrived is None or arrived.chunk != chunk:
            return None
        self._arrived = None
        observed, asked = self._asked[chunk]
        there_and_back = arrived.when - asked - arrived.inference
        return Stages(asked - observed, there_and_back, arrived.inference, now - arrived.when)
