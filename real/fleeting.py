"""What a watch has to say, for as long as it is news."""

from __future__ import annotations

import math

RECENT = 0.1  # s after which it is past
IDLE = 1.0  # s without a question after which nobody was listening, as while nothing moves


class Fleeting:
    """One text, told by one thread and taken once by another."""

    def __init__(self) -> None:
        """Start with nothing to say."""
        self._told: tuple[str, float] | None = None  # in one piece, for who takes it
        self._asked = -math.inf

    def tell(self, text: str, when: float) -> None:
        """Say what happened at `when`, monotonic, s."""
        self._told = text, when

    def take(self, now: float) -> str:
        """Take what happened since the last call, or just before `now` where that was long ago; "" if nothing."""
        told, self._told = self._told, None
        since = now - RECENT if now - self._asked > IDLE else min(now - RECENT, self._asked)
        self._asked = now
        return told[0] if told is not None and told[1] > since else ""
