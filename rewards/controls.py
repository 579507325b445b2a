"""Controls: films of an episode on which an estimator that only counts frames gives itself away.

Each is a list of frame numbers; what is true of a film is what is true of the frames that it shows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def as_it_was(length: int, rng: np.random.Generator) -> Ints:
    """The episode itself."""
    return np.arange(length)


def static(length: int, rng: np.random.Generator) -> Ints:
    """The first frame all the time."""
    return np.zeros(length, np.int64)


def reversed_(length: int, rng: np.random.Generator) -> Ints:
    """The episode backwards."""
    return np.arange(length)[::-1].copy()


def rewound(length: int, rng: np.random.Generator) -> Ints:
    """Up to a frame in the second half, then back to one in the first."""
    turn = int(rng.integers(length // 2, length))
    back = int(rng.integers(0, max(length // 2, 1)))
    return np.concatenate((np.arange(turn + 1), np.arange(turn - 1, back - 1, -1)))


def frozen_tail(length: int, rng: np.random.Generator) -> Ints:
    """Up to a frame in the middle, which then stays for as long as the episode lasted."""
    stop = int(rng.integers(length // 4, max(3 * length // 4, length // 4 + 1)))
    return np.concatenate((np.arange(stop), np.full(length, stop)))


def warped(length: int, rng: np.random.Generator) -> Ints:
    """Slower and faster by turns, from half to twice the speed."""
    speed = np.repeat(rng.uniform(0.5, 2.0, size=length // 10 + 2), 20)
    places = np.concatenate(([0.0], np.cumsum(speed)))
    return np.rint(places[places <= length - 1]).astype(np.int64)


CONTROLS: dict[str, Callable[[int, np.random.Generator], Ints]] = {
    "as_it_was": as_it_was,
    "static": static,
    "reversed": reversed_,
    "rewound": rewound,
    "frozen_tail": frozen_tail,
    "warped": warped,
}
