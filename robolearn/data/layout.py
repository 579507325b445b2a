"""Where a LeRobot v3 dataset keeps what, and the features that it writes by itself."""

from __future__ import annotations

from collections.abc import Mapping
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

# Under "observation." because LeRobot's converters drop columns of unknown prefix; a label all the same.
STAGE = "observation.stage"
STAGE_FEATURE = Feature("int64", (1,), ("stage",), ("1",), "annotation")

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


def info(
    *, fps: int, robot_type: str, features: Mapping[str, Any], episodes: int, frames: int, tasks: int
) -> dict[str, Any]:
    """Return the content of `info.json`."""
    return {
        "codebase_version": VERSION,
        "fps": fps,
        "features": {**features, **BOOKKEEPING_FEATURES},
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": CHUNK_SIZE,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "data_path": DATA_TEMPLATE,
        "video_path": None,
        "robot_type": robot_type,
        "splits": {"train": f"0:{episodes}"},
    }
