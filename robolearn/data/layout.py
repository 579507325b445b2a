"""Where a LeRobot v3 dataset keeps what, and the features that it writes by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robolearn.schema import Feature

VERSION = "v3.0"
CHUNK_SIZE = 1000  # files in a chunk folder
INFO = "meta/info.json"
STATISTICS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
OWN_SCHEMA = "meta/robolearn_schema.json"
DATA_TEMPLATE = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_TEMPLATE = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_TEMPLATE = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

# Under "observation." because LeRobot's converters drop columns of unknown prefix; a label all the same.
STAGE = "observation.stage"
STAGE_FEATURE = Feature("int64", (1,), ("stage",), ("1",), "annotation")
# share of the task that is done, by the predicates; LeRobot lets policies read no channel of this prefix
PROGRESS = "privileged.progress"
PROGRESS_FEATURE = Feature("float32", (1,), ("progress",), ("1",), "privileged", (0.0,), (1.0,))

PICTURE_TYPES = ("image", "video")  # dtypes of RGB pictures, in a schema and in LeRobot's features

BOOKKEEPING_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}


def data_file(root: Path, number: int) -> Path:
    """Return the path of the n-th data file."""
    return root / DATA_TEMPLATE.format(chunk_index=number // CHUNK_SIZE, file_index=number % CHUNK_SIZE)


def episodes_file(root: Path, number: int) -> Path:
    """Return the path of the n-th file of episode metadata."""
    return root / EPISODES_TEMPLATE.format(chunk_index=number // CHUNK_SIZE, file_index=number % CHUNK_SIZE)


def video_file(root: Path, key: str, number: int) -> Path:
    """Return the path of the n-th video of a channel."""
    return root / VIDEO_TEMPLATE.format(video_key=key, chunk_index=number // CHUNK_SIZE, file_index=number % CHUNK_SIZE)
