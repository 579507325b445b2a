"""What happens to messages on their way: late, irregular, lost."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np


class Line[Message]:
    """A line of messages that arrive late, irregularly or not at all, but never out of order."""

    def __init__(self, *, latency: float, jitter: float, loss: float, rng: np.random.Generator) -> None:
        """See `robolearn.imperfections.Imperfections` for the arguments."""
        self._latency, self._jitter, self._loss, self._rng = latency, jitter, loss, rng
        self._waiting: deque[tuple[float, Message]] = deque()

    def put(self, message: Message, now: float) -> None:
        """Send a message at `now`, s."""
        if self._loss and self._rng.random() < self._loss:
            return
        due = now + self._latency + (self._rng.uniform(0.0, self._jitter) if self._jitter else 0.0)
        if self._waiting:
            due = max(due, self._waiting[-1][0])
        self._waiting.append((due, message))

    def take(self, now: float) -> list[Message]:
        """What has arrived by `now`, the oldest first."""
        arrived: list[Any] = []
        while self._waiting and self._waiting[0][0] <= now:
            arrived.append(self._waiting.popleft()[1])
        return arrived

    def clear(self) -> None:
        """Lose all that is under way."""
        self._waiting.clear()
