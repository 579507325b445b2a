"""Demonstrations for fine-tuning: the channels that a base policy reads, with pictures in the size that it reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.commands.train import load_dataset
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.images import is_picture
from robolearn.errors import UserError
from robolearn.language import TASK
from robolearn.schema import Schema

SHARE = 0.8  # of the machine's memory that pictures may take


def load_demonstrations(folder: Path, schema: Schema, *, reader: str = "policy") -> EpisodeDataset:
    """Read a dataset for a policy.

    Args:
        folder: of the dataset.
        schema: channels that the policy reads; pictures are resized to what it says.
        reader: what it is called in errors.

    Raises:
        UserError: the dataset lacks a channel or has it in another shape, or is no good.
    """
    keys = schema.observation_keys
    sizes = {schema[key].shape[:2] for key in keys if is_picture(schema[key])}
    (size,) = sizes if len(sizes) == 1 else (None,)  # where cameras differ, the dataset's own sizes must do
    data = load_dataset(folder, keys, None if size is None else (size[0], size[1]))
    for key in (*keys, "action"):
        mine, theirs = schema[key].shape, data.schema[key].shape
        if mine != theirs:
            raise UserError(
                f"the {reader}'s channel '{key}' has shape {mine}, the dataset's {theirs}: "
                f"give the demonstrations that the {reader} was trained on, or others of the same robot and task"
            )
    return data


def episodes_of(data: EpisodeDataset) -> Iterator[dict[str, NDArray[Any]]]:
    """Channels of each episode, pictures too, and what the robot was told at each frame; one at a time in memory."""
    for k in range(data.num_episodes):
        frames = np.arange(data.starts[k], data.ends[k])
        pictures = {key: images.take(frames) for key, images in data.images.items()}
        yield {**data.episode(k), **pictures, TASK: np.array(data.instructions)[data.task_index[frames]]}


def require_memory(schema: Schema, *, shown: int, kept: int) -> None:
    """Check before hours of learning that the pictures of a replay fit into memory.

    Args:
        schema: channels that the policy reads.
        shown: frames of demonstrations.
        kept: control steps of the algorithm's own that are kept at most.

    Raises:
        UserError: they do not.
    """
    frame = sum(prod(schema[key].shape) for key in schema.observation_keys if is_picture(schema[key]))
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = (shown + kept) * frame
    if needed > SHARE * there:
        raise UserError(
            f"the pictures of {shown + kept} control steps need {needed / 1e9:.1f} GB of memory, and this machine has "
            f"{there / 1e9:.1f} GB: give algo.replay_steps={max(int(SHARE * there) // frame - shown, 1)}, "
            "fewer demonstrations, or train the base on smaller pictures"
        )
