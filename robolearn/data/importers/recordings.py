"""What every importer hands over, and how it is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from robolearn.data.raw import RawDataset
from robolearn.data.writer import DatasetWriter
from robolearn.errors import UserError
from robolearn.schema import Schema

SOURCE = "source"  # the episodes' column that says where each comes from


class Progress(Protocol):
    """Shows how far the work is; see `robolearn.commands.common.progress`."""

    def __call__(self, label: str | None, total: int) -> AbstractContextManager[Any]:
        """Yield a function that is told of what is done."""


@dataclass(frozen=True)
class Recorded:
    """An episode.

    Attributes:
        frames: every channel, [T, *shape].
        task: the instruction.
        columns: values of the episode, among them `SOURCE`; the same names in every episode.
    """

    frames: dict[str, NDArray[Any]]
    task: str
    columns: dict[str, Any]


@dataclass(frozen=True)
class Recordings:
    """Episodes to be written.

    Attributes:
        schema: their channels.
        robot: name of the robot.
        total: how many recordings there are; one may give several episodes, or none.
        episodes: those of each recording in turn.
    """

    schema: Schema
    robot: str
    total: int
    episodes: Iterator[list[Recorded]]


def role_of(channel: str) -> str:
    """Return the role of a channel of this name."""
    if channel == "action":
        return "action"
    return channel.partition(".")[0] if channel.startswith(("observation.", "privileged.")) else "annotation"


def write(recordings: Recordings, out: Path, *, video: bool, progress: Progress) -> int:
    """Write a dataset, or go on with it where a killed import stopped; return its number of episodes.

    Args:
        recordings: read in order.
        out: folder of the dataset.
        video: store pictures as videos, else as PNG files in the data.
        progress: shows how many recordings are read.

    Raises:
        UserError: `out` holds a dataset of other recordings, or nothing could be imported.
    """
    writer = DatasetWriter(out, recordings.schema, robot_type=recordings.robot, video=video)
    done = [row.get(SOURCE) for row in RawDataset.load(out).rows] if writer.num_episodes else []
    place = 0
    with progress("import", recordings.total) as advance:
        for episodes in recordings.episodes:
            for episode in episodes:
                if place < len(done):
                    _require_same(out, place, done[place], episode)
                else:
                    writer.add_episode(episode.frames, task=episode.task, **episode.columns)
                place += 1
            advance(1)
    if not writer.num_episodes:
        raise UserError("nothing was imported: no recording has two frames in which every channel has a value")
    writer.finalize()
    return writer.num_episodes


def _require_same(out: Path, place: int, there: Any, episode: Recorded) -> None:
    here = episode.columns[SOURCE]
    if there != here:
        raise UserError(f"episode {place} of {out} comes from '{there}', not '{here}': give another out=FOLDER")
