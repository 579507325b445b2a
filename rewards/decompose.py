"""Stages of demonstrations that nobody has labelled: Universal Visual Decomposer (Zhang et al. 2024); NumPy alone.

On its way to a subgoal a robot sees what is more and more like the subgoal; before that, on its way to another one, it
need not. So the latest frame from which on the distance to a goal falls is the subgoal before that goal:

    g_{m-1} = max { t < g_m : d(z_t, z_{g_m}) is a local maximum },    d the Euclidean distance, smoothed over time

from the last frame backwards, until there is no maximum. This says nothing of what the stages of two episodes have in
common. So one episode decides for all, the one whose stages agree best with those of others, and the others take its
stages by dynamic time warping.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.rewards.alignment import align

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
STILL = 1e-6  # share of the largest distance up to which a change is none
CANDIDATES = 16  # successes that are asked whose stages are best
MODELS = 16  # successes of which a failure follows the nearest


def subgoals(embeddings: Array, *, min_gap: int, smoothing: float) -> Ints:
    """Return the subgoals of one episode: frames, rising, of which the last is the episode's last.

    Args:
        embeddings: [T, d] what is seen at each frame: normalised channels, or features of pictures.
        min_gap: two subgoals are more frames than this apart, and the first is as far from the first frame.
        smoothing: standard deviation in frames of the Gaussian that smoothes distances; 0 leaves them.
    """
    found = [len(embeddings) - 1]
    while True:
        goal = found[-1]
        distance = np.linalg.norm(embeddings[: goal + 1] - embeddings[goal], axis=1)
        peaks = _peaks(_smoothed(distance, smoothing))
        peaks = peaks[(peaks > min_gap) & (goal - peaks > min_gap)]
        if not len(peaks):
            return np.array(found[::-1])
        found.append(int(peaks[-1]))


def reached(subgoals: Ints, length: int) -> Ints:
    """Return how many subgoals have been reached [length] at each frame: the stage, K from the last one on."""
    return np.searchsorted(subgoals, np.arange(length), side="right")


def decompose(
    episodes: Sequence[Array],
    success: Sequence[bool],
    *,
    min_gap: int,
    smoothing: float,
    advance: Callable[[int], object] = lambda n: None,
) -> tuple[tuple[str, ...], list[Ints]]:
    """Find stages that all episodes of one task have in common.

    Their number K is the one that most successes have. Of the successes with K subgoals, the one whose stages agree
    best with the others' own says what the stages are. The other successes are laid along it from begin to end, and
    each failure along the success that it is most like, as far as it got.

    Args:
        episodes: embeddings [T, d] of each.
        success: whether the task was done in each.
        min_gap: see `subgoals`.
        smoothing: see `subgoals`.
        advance: told of every episode that is done.

    Returns:
        The stages' names "stage_1" to "stage_K", and the stage [T] of each episode: in 0..K-1, never falling, and K at
        the end of successes, where all is done.

    Raises:
        UserError: no episode is a success.
    """
    found = {
        i: subgoals(embeddings, min_gap=min_gap, smoothing=smoothing)
        for i, embeddings in enumerate(episodes)
        if success[i]
    }
    if not found:
        raise UserError("stages are found in successes, and no episode is one: add some")
    num_stages = _most_frequent([len(goals) for goals in found.values()])
    own = {i: reached(goals, len(episodes[i])) for i, goals in found.items() if len(goals) == num_stages}
    chosen = _most_agreed(episodes, own)
    stages: dict[int, Ints] = {}
    for i in found:
        stages[i] = own[i] if i == chosen else _along(episodes[i], episodes[chosen], own[chosen])
        stages[i][-1] = num_stages  # also of an episode that is too short to go all the way
        advance(1)
    models = {i: stages[i] for i in _spread(list(found), MODELS)}
    for i, embeddings in enumerate(episodes):
        if not success[i]:
            stages[i] = np.minimum(_along_nearest(embeddings, episodes, models), num_stages - 1)
            advance(1)
    return tuple(f"stage_{k + 1}" for k in range(num_stages)), [stages[i] for i in range(len(episodes))]


def _most_frequent(numbers: Sequence[int]) -> int:
    """Of several, the smallest."""
    counts = Counter(numbers)
    return min(counts, key=lambda number: (-counts[number], number))


def _most_agreed(episodes: Sequence[Array], own: Mapping[int, Ints]) -> int:
    """Return the episode whose stages, given to other ones, are most like their own."""
    asked = _spread(list(own), CANDIDATES)
    agreement = np.zeros(len(asked))
    for j in asked:
        ways = align(episodes[j], [episodes[i] for i in asked], complete=True)
        agreement += [(own[i][way] == own[j]).mean() for i, (way, _) in zip(asked, ways, strict=True)]
    return asked[int(agreement.argmax())]


def _spread(numbers: list[int], most: int) -> list[int]:
    """Return at most so many, evenly spread."""
    places = np.linspace(0, len(numbers) - 1, min(most, len(numbers)))
    return [numbers[int(place)] for place in places]


def _along(episode: Array, other: Array, stage: Ints) -> Ints:
    """Return the stage [T] of an episode that does all that another one with stages [L] does."""
    ((way, _),) = align(episode, [other], complete=True)
    return stage[way]


def _along_nearest(episode: Array, episodes: Sequence[Array], stages: Mapping[int, Ints]) -> Ints:
    """Return the stage [T] by that episode with stages of which this one is most like some begin."""
    ways = zip(stages, align(episode, [episodes[i] for i in stages], complete=False), strict=True)
    nearest, (way, _) = min(ways, key=lambda item: item[1][1])
    return stages[nearest][way]


def _smoothed(curve: Array, deviation: float) -> Array:
    """Weighted mean [T] of those neighbours that there are (Nadaraya 1964, Watson 1964)."""
    if deviation == 0:
        return curve
    reach = int(np.ceil(3 * deviation))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    inside = slice(reach, reach + len(curve))
    return np.convolve(curve, kernel)[inside] / np.convolve(np.ones_like(curve), kernel)[inside]


def _peaks(curve: Array) -> Ints:
    """Frames up to which a curve rises and after which it falls; of a level stretch the last one."""
    change = np.diff(curve)
    moves = np.flatnonzero(np.abs(change) > STILL * curve.max())
    up = change[moves] > 0
    return moves[1:][up[:-1] & ~up[1:]]
