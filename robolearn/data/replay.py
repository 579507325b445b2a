"""Replay of finished episodes for off-policy RL: every frame is kept once, returns and windows are made when drawn."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.jit import jit


class Trajectory(NamedTuple):
    """A finished episode of T control steps.

    Attributes:
        frames: what was known before each action, and after the last one [T + 1, ...].
        action: executed [T, action_dim].
        reward: [T].
        terminated: whether the task ended, so that no value follows; else time ran out, and the last frame's counts.
        success: whether it was solved.
    """

    frames: dict[str, NDArray[Any]]
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    terminated: bool
    success: bool


class Windows(NamedTuple):
    """B pieces of up to h control steps.

    Attributes:
        frames: before the first action [B, ...].
        action: [B, h, action_dim]; beyond the episode's end its last action is repeated.
        inside: whether a step lies inside the episode [B, h]; the first always does.
        reward: sum over the steps inside of gamma^i r_i [B].
        discount: gamma^k after k steps inside, of the value that follows; 0 where the task ended within them [B].
        after: frames after the last step inside [B, ...].
    """

    frames: dict[str, NDArray[Any]]
    action: NDArray[np.float32]
    inside: NDArray[np.bool_]
    reward: NDArray[np.float32]
    discount: NDArray[np.float32]
    after: dict[str, NDArray[Any]]


@jit
def _follow(
    rows: NDArray[np.int64],
    left: NDArray[np.int64],
    terminated: NDArray[np.bool_],
    rewards: NDArray[np.float32],
    gamma: float,
    path: NDArray[np.int64],
    inside: NDArray[np.bool_],
    reward: NDArray[np.float32],
    discount: NDArray[np.float32],
    after: NDArray[np.int64],
) -> None:
    """Follow each window from its first of `rows`; the last five arguments are results, see `Windows`."""
    for i in range(len(rows)):
        steps = min(left[rows[i]], path.shape[1])
        worth, weight = 0.0, 1.0
        for k in range(path.shape[1]):
            inside[i, k] = k < steps
            path[i, k] = rows[i] + min(k, steps - 1)
            if k < steps:
                worth += weight * rewards[path[i, k]]
                weight *= gamma
        after[i] = rows[i] + steps
        ended = terminated[rows[i]] and steps == left[rows[i]]
        reward[i] = worth
        discount[i] = 0.0 if ended else weight


class Replay:
    """The newest episodes, as many as there is room for."""

    def __init__(self, capacity: int) -> None:
        """Make room for `capacity` frames; memory is taken as it fills."""
        self.capacity = capacity
        self._fields: dict[str, NDArray[Any]] = {}
        self._left = np.zeros(capacity, np.int64)  # steps from this row to the episode's end
        self._terminated = np.zeros(capacity, bool)
        self._starts = np.zeros(capacity, np.int64)  # ring of the rows that an action was taken in
        self._first, self._steps, self._next = 0, 0, 0
        self._episodes: deque[tuple[int, int]] = deque()  # first row and steps of each, oldest first

    def __len__(self) -> int:
        """Control steps that can be drawn."""
        return self._steps

    @property
    def num_episodes(self) -> int:
        """Episodes kept."""
        return len(self._episodes)

    def add(self, trajectory: Trajectory) -> None:
        """Store an episode; the oldest go when there is no room.

        Raises:
            UserError: it is longer than the whole replay.
        """
        steps = len(trajectory.reward)
        if steps + 1 > self.capacity:
            raise UserError(f"an episode of {steps} steps does not fit a replay of {self.capacity} frames: enlarge it")
        start = self._make_room(steps + 1)
        rows = slice(start, start + steps + 1)
        for key, values in self._rows(trajectory).items():
            if start + len(values) > len(self._fields.get(key, ())):
                self._enlarge(key, like=values, rows=start + len(values))
            self._fields[key][start : start + len(values)] = values
        self._left[rows] = np.arange(steps, -1, -1)
        self._terminated[rows] = trajectory.terminated
        ring = (self._first + self._steps + np.arange(steps)) % self.capacity
        self._starts[ring] = start + np.arange(steps)
        self._steps += steps
        self._episodes.append((start, steps))
        self._next = start + steps + 1

    def draw(self, rng: np.random.Generator, n: int, *, length: int, gamma: float) -> Windows:
        """Draw n windows of up to `length` steps that begin anywhere, with replacement.

        A window is cut at the episode's end: after a termination nothing follows, after a truncation the value of the
        last frame, discounted by the steps that there were.
        """
        rows = self._starts[(self._first + rng.integers(self._steps, size=n)) % self.capacity]
        path, inside = np.empty((n, length), np.int64), np.empty((n, length), np.bool_)
        reward, discount, after = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.int64)
        _follow(
            rows, self._left, self._terminated, self._fields["reward"], gamma, path, inside, reward, discount, after
        )
        return Windows(
            frames=self._frames(rows),
            action=self._fields["action"].take(path, axis=0),
            inside=inside,
            reward=reward,
            discount=discount,
            after=self._frames(after),
        )

    def _frames(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        return {key: f.take(rows, axis=0) for key, f in self._fields.items() if key not in ("action", "reward")}

    def _enlarge(self, key: str, *, like: NDArray[Any], rows: int) -> None:
        """Give a field at least so many rows, and twice as many as it had, so that copies are rare."""
        old = self._fields.get(key, like[:0])
        larger = np.zeros((min(max(rows, 2 * len(old)), self.capacity), *like.shape[1:]), like.dtype)
        larger[: len(old)] = old
        self._fields[key] = larger

    @staticmethod
    def _rows(trajectory: Trajectory) -> dict[str, NDArray[Any]]:
        return {**trajectory.frames, "action": trajectory.action, "reward": trajectory.reward}

    def _make_room(self, rows: int) -> int:
        """Return the first of so many free rows in a row, after forgetting the episodes that were there."""
        start, beyond = self._next, self.capacity
        if start + rows > self.capacity:  # what lies between here and the end is older than what lies at 0
            start, beyond = 0, self._next
        while self._episodes:
            first, steps = self._episodes[0]
            if first >= beyond or (first < start + rows and first + steps + 1 > start):
                self._episodes.popleft()
                self._first = (self._first + steps) % self.capacity
                self._steps -= steps
            else:
                break
        return start
