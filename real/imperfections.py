"""What a real arm's driver does to data on their way: late, irregular, noisy, lost, off by an encoder's zero."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError

Array = NDArray[np.float64]
SHARES = ("loss", "gravity")


@dataclass(frozen=True, kw_only=True)
class Imperfections:
    """How a simulated arm differs from a perfect one; a perfect one by default.

    Attributes:
        latency: s from a measurement to its message, whose stamp stays that of the measurement.
        command_latency: s from the arrival of a command until it is obeyed.
        jitter: largest further delay of each message in s, drawn evenly; messages keep their order.
        noise: standard deviation of joint positions in rad.
        pose_noise: standard deviation of objects' positions in m.
        loss: share of messages that are lost, each way.
        encoder_offset: largest error of each joint's zero in rad, drawn evenly, once for the arm.
        gain: factor on the stiffness and damping of the servos.
        gravity: share of its weight that the arm does not carry by itself.
        command_timeout: s without a command after which the driver reports that it holds.
        seed: of everything that is drawn.
    """

    latency: float = 0.0
    command_latency: float = 0.0
    jitter: float = 0.0
    noise: float = 0.0
    pose_noise: float = 0.0
    loss: float = 0.0
    encoder_offset: float = 0.0
    gain: float = 1.0
    gravity: float = 0.0
    command_timeout: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check.

        Raises:
            UserError: a value out of its range.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"{field.name} must be finite and at least 0, not {value}")
        for name in SHARES:
            if getattr(self, name) > 1:
                raise UserError(f"{name} is a share and must be at most 1, not {getattr(self, name)}")
        for name in ("gain", "command_timeout"):
            if getattr(self, name) == 0:
                raise UserError(f"{name} must be more than 0")

    def offsets(self, n_joints: int) -> Array:
        """Errors of the joints' zeros [n_joints] in rad."""
        rng = np.random.default_rng((self.seed, 1))
        return rng.uniform(-self.encoder_offset, self.encoder_offset, n_joints)


class Line[Message]:
    """A line of messages that arrive late, irregularly or not at all, but never out of order."""

    def __init__(self, *, latency: float, jitter: float, loss: float, rng: np.random.Generator) -> None:
        """See `Imperfections` for the arguments."""
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
