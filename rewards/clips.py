"""Training clips: short films cut from episodes, played as they were, slower, paused, or backwards.

A film is a list of frame numbers, so that labels always are those of the frames that are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.language import TOKENS
from robolearn.rewards.labels import Labels

Ints = NDArray[np.int64]
Batch = dict[str, NDArray[Any]]
SHARE = 0.125  # of the clips, that end where there is most to learn


@dataclass(frozen=True)
class Footage:
    """Episodes in a row, with labels.

    Attributes:
        channels: observations [frames, ...] by channel, normalised but for pictures, and what else a model learns from.
        starts: [episodes] first frame of each episode; there is no gap between episodes.
        ends: [episodes] one past the last.
        labels: of all frames.
        instruction: [episodes] index in `tokens` of what was asked for.
        tokens: [instructions, words, pieces] ids of the dataset's instructions, then of others that are wrong here.
    """

    channels: Mapping[str, NDArray[Any]]
    starts: Ints
    ends: Ints
    labels: Labels
    instruction: Ints
    tokens: Ints


@dataclass(frozen=True)
class Tricks:
    """How often a film is tampered with; probabilities in [0, 1].

    Attributes:
        rewind: it ends with frames in reversed order.
        pause: it stands still for a while.
        warp: it is played at another speed, from half to twice.
        still: it shows one frame all the time.
        wrong: the instruction is another one, and progress is zero.
    """

    rewind: float = 0.25
    pause: float = 0.25
    warp: float = 0.25
    still: float = 0.05
    wrong: float = 0.2


def film(now: int, *, length: int, tricks: Tricks, rng: np.random.Generator) -> Ints:
    """Return the numbers [length] of an episode's frames in the order in which a film shows them.

    Numbers before the episode's first frame stand for the time before it, at which run time repeats that frame.

    Args:
        now: the last frame that is shown, but for a rewound film, which turns round there.
        length: frames of the film.
        tricks: how often it is tampered with.
        rng: draws.
    """
    if rng.random() < tricks.still:
        return np.full(length, now, np.int64)
    speed = rng.uniform(0.5, 2.0) if rng.random() < tricks.warp else 1.0
    frames = np.rint(now - speed * np.arange(length)[::-1]).astype(np.int64)
    if rng.random() < tricks.rewind:
        turn = int(rng.integers(1, length))
        frames = np.concatenate((frames, np.rint(now - speed * np.arange(1, turn + 1)).astype(np.int64)))
    if rng.random() < tricks.pause:
        place, still = int(rng.integers(1, length)), int(rng.integers(1, length))
        cut = len(frames) - place
        frames = np.concatenate((frames[:cut], np.repeat(frames[cut], still), frames[cut:]))
    return frames[-length:]


def clips(
    footage: Footage, *, length: int, gap: int, batch_size: int, seed: int, tricks: Tricks, often: Ints | None = None
) -> Callable[[int], Batch]:
    """Return a function from the training step to its batch; it depends on seed and step alone.

    An eighth of the clips end within two frames of a change of stage, where there is most to learn.

    Args:
        footage: episodes.
        length: frames of a clip.
        gap: frames of the film between two of a clip.
        batch_size: clips of a batch.
        seed: of all draws.
        tricks: how often films are tampered with.
        often: frames at which another eighth of the clips end.

    Returns:
        Batches: each channel [B, length, ...], "stage" and "tau" [B, length], the ids of the instruction
        [B, words, pieces], "wrong" [B], whether that is not what was asked for, and "valid" [B, length], false where
        the episode had no frame yet.
    """
    lengths = footage.ends - footage.starts
    first = np.repeat(footage.starts, lengths)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    changes = _changes(footage.labels.stage, episode)
    span = (length - 1) * gap + 1
    num_right = int(footage.instruction.max()) + 1
    num_wrong = len(footage.tokens) - num_right

    def batch_of(step: int) -> Batch:
        rng = np.random.default_rng((seed, step))
        drawn = rng.integers(len(episode), size=batch_size)
        for wanted in (changes, often):
            if wanted is not None and len(wanted):
                here = rng.random(batch_size) < SHARE
                drawn[here] = wanted[rng.integers(len(wanted), size=int(here.sum()))]
        shown = np.stack([film(now, length=span, tricks=tricks, rng=rng)[::gap] for now in drawn])
        asked = footage.instruction[episode[drawn]]
        wrong = (rng.random(batch_size) < tricks.wrong) & (num_wrong > 0)
        if wrong.any():
            asked[wrong] = num_right + rng.integers(num_wrong, size=int(wrong.sum()))
        begun = shown >= first[drawn, None]
        begun[:, -1] = True  # a film may be rewound to the time before, which shows the first frame
        batch = _batch(footage, np.maximum(shown, first[drawn, None]), wrong)
        return batch | {TOKENS: footage.tokens[asked], "wrong": wrong, "valid": begun}

    return batch_of


def ends_of_successes(footage: Footage, num_stages: int) -> Ints:
    """Return the last frames [n] of the episodes that ended with all stages done."""
    return footage.ends[footage.labels.stage[footage.ends - 1] >= num_stages] - 1


def edges(footage: Footage, *, num_stages: int, most: int = 64) -> tuple[Batch, Batch]:
    """Return the first frames of episodes, and the last ones of those that ended with all stages done.

    Args:
        footage: episodes.
        num_stages: of the task.
        most: frames of each kind; from more episodes than that they are taken evenly.

    Returns:
        Of each kind the channels [n, 1, ...] and the ids of the instruction [n, words, pieces].
    """

    def shown(frames: Ints) -> Batch:
        some = frames[:: -(-len(frames) // most) or 1]
        asked = footage.instruction[np.searchsorted(footage.ends, some, side="right")]
        batch: Batch = {key: values[some, None] for key, values in footage.channels.items()}
        return batch | {TOKENS: footage.tokens[asked]}

    return shown(footage.starts), shown(ends_of_successes(footage, num_stages))


def _batch(footage: Footage, shown: Ints, wrong: NDArray[np.bool_]) -> Batch:
    stage, tau = footage.labels.stage[shown], footage.labels.tau[shown].astype(np.float32)
    stage[wrong], tau[wrong] = 0, 0.0
    batch: Batch = {key: values[shown] for key, values in footage.channels.items()}
    return batch | {"stage": stage, "tau": tau}


def _changes(stage: Ints, episode: Ints) -> Ints:
    """Frames within two of a change of stage in their episode."""
    at = np.flatnonzero((np.diff(stage) != 0) & (np.diff(episode) == 0))
    near = np.unique((at[:, None] + np.arange(-1, 3)).ravel())
    return near[(near >= 0) & (near < len(stage))]
