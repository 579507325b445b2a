"""The newest plan, asked by time: what keeps the arm going when inference is late."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.schema import ActionChunk


class ChunkBuffer:
    """Holds the newest chunk; a late inference means going on with the rest of the last one, then nothing.

    Attributes:
        number: which chunk it is, as whoever put it says.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._chunk: ActionChunk | None = None
        self.number = -1

    def put(self, chunk: ActionChunk, number: int = -1) -> None:
        """Keep `chunk` (values [m, action_dim]) unless a chunk that begins later is already here."""
        if self._chunk is None or chunk.t0 >= self._chunk.t0:
            self._chunk, self.number = chunk, number

    def action(self, time: float) -> NDArray[Any] | None:
        """Return the action [action_dim] planned for `time` in s, or None before the plan and after its end."""
        if self._chunk is None:
            return None
        step = int(np.floor((time - self._chunk.t0) / self._chunk.dt + 0.5))
        return self._chunk.values[step] if 0 <= step < self._chunk.horizon else None

    def clear(self) -> None:
        """Forget the plan."""
        self._chunk = None
