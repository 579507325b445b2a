"""What a dataset's `meta/info.json` and `meta/stats.json` say about the whole set, kept up to date cheaply."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robolearn.data import language, layout
from robolearn.data.files import replacing
from robolearn.data.statistics import Statistics, aggregate_statistics, to_json
from robolearn.data.video import video_info
from robolearn.schema import Schema

HEAD_BYTES = 256  # of info.json, for the counters; within one page of memory, so that they change at once


def lerobot_features(schema: Schema, *, video: bool, spoken: bool) -> dict[str, dict[str, Any]]:
    """Return LeRobot's `features` of a dataset.

    Args:
        schema: the channels.
        video: whether pictures are stored as videos, else as PNG in the data files.
        spoken: whether there are the language columns.
    """
    features = schema.to_lerobot()
    for key in picture_keys(schema):
        features[key]["dtype"] = "video" if video else "image"
        if video:
            features[key]["info"] = video_info(schema[key], fps=schema.fps)
    return {**features, **(language.FEATURES if spoken else {}), **layout.BOOKKEEPING_FEATURES}


def picture_keys(schema: Schema) -> tuple[str, ...]:
    """Return the channels of RGB pictures."""
    return tuple(key for key, feature in schema.features.items() if feature.dtype in layout.PICTURE_TYPES)


class Summary:
    """Writes both files.

    Replacing a file by another is the costly part of adding a short episode: file systems write the new content out
    first. So the counters of `info.json` stand at its beginning and are overwritten in place, in one piece shorter than
    a page, which a kill cannot tear; and `stats.json` follows when the set has grown by an eighth, and at the end.
    """

    def __init__(self, root: Path, *, fps: int, robot_type: str, features: Mapping[str, Any], video: bool) -> None:
        """Prepare the files; `create` writes the first.

        Args:
            root: the dataset's folder.
            fps: frames per second.
            robot_type: name of the robot.
            features: LeRobot's, see `lerobot_features`.
            video: whether there are videos.
        """
        self._info, self._statistics_file = root / layout.INFO, root / layout.STATISTICS
        self._fixed = {
            "fps": fps,
            "features": features,
            "chunks_size": layout.CHUNK_SIZE,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "data_path": layout.DATA_TEMPLATE,
            "video_path": layout.VIDEO_TEMPLATE if video else None,
            "robot_type": robot_type,
        }
        self._parts: list[Statistics] = []  # a sum, and what came after it
        self._episodes = self._described = self._due = 0

    def create(self, *, frames: int, tasks: int, statistics: Sequence[Statistics] = ()) -> None:
        """Write both files anew, for the episodes with these statistics."""
        self._parts, self._episodes, self._described = list(statistics), len(statistics), 0
        with replacing(self._info) as path:
            path.write_bytes(self._head(frames, tasks) + b"," + json.dumps(self._fixed, indent=4)[1:].encode() + b"\n")
        self.write_statistics()

    def add(self, statistics: Statistics, *, frames: int, tasks: int) -> None:
        """Count one more episode; the numbers of frames and tasks are those of the whole set."""
        self._parts.append(statistics)
        self._episodes += 1
        with self._info.open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), self._head(frames, tasks), 0)
        if self._episodes >= self._due:
            self.write_statistics()

    def write_statistics(self) -> None:
        """Bring `stats.json` up to date."""
        if self._described == self._episodes:
            return
        self._parts = [aggregate_statistics(self._parts)]
        with replacing(self._statistics_file) as path:
            path.write_text(json.dumps(to_json(self._parts[0])) + "\n")
        self._described, self._due = self._episodes, self._episodes + max(1, self._episodes // 8)

    def _head(self, frames: int, tasks: int) -> bytes:
        counters = {
            "codebase_version": layout.VERSION,
            "total_episodes": self._episodes,
            "total_frames": frames,
            "total_tasks": tasks,
            "splits": {"train": f"0:{self._episodes}"},
        }
        return json.dumps(counters)[:-1].ljust(HEAD_BYTES).encode()
