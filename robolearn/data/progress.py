"""Progress of every frame of a dataset, in the file that LeRobot's RA-BC reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robolearn.data.files import replacing
from robolearn.errors import UserError

PROGRESS_FILE = "sarm_progress.parquet"  # in a dataset's folder, where LeRobot looks by itself
INDEX, EPISODE, PROGRESS = "index", "episode_index", "progress_sparse"


def write_progress(
    path: Path,
    progress: NDArray[np.floating],
    *,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    source: str,
) -> None:
    """Write progress for `robolearn train` and for LeRobot's trainer.

    LeRobot knows a coarse and a fine estimate, and its option `head_mode` says which is read; ours are the same.

    Args:
        path: the file, `PROGRESS_FILE` in the dataset's folder by custom.
        progress: [frames], in [0, 1].
        starts: [episodes] first frame of each episode, of the dataset.
        ends: [episodes] one past the last.
        source: what estimated it; LeRobot's commands take it for the reward model's folder or name.

    Raises:
        UserError: the progress is not that of these frames, or not finite.
    """
    episode = _episodes(starts, ends)
    if progress.shape != episode.shape:
        raise UserError(f"progress has shape {progress.shape}, the dataset {len(episode)} frames: give one for each")
    values = _finite(progress, episode)
    frame = np.arange(len(values))
    columns = {
        INDEX: frame,
        EPISODE: episode,
        "frame_index": frame - starts[episode],
        PROGRESS: values,
        "progress_dense": values,
    }
    table = pa.table(columns).replace_schema_metadata({"reward_model_path": source})
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def read_progress(path: Path, *, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.float32]:
    """Read what `write_progress` or LeRobot's `compute_rabc_weights` wrote for a dataset with these episodes.

    Returns:
        [frames].

    Raises:
        UserError: there is no such file, it lacks a column, is of another dataset or holds a NaN.
    """
    table = _read(path)
    episode = _episodes(starts, ends)
    numbers, episodes, progress = (table[key].to_numpy() for key in (INDEX, EPISODE, PROGRESS))
    if not (np.array_equal(numbers, np.arange(len(episode))) and np.array_equal(episodes, episode)):
        raise UserError(
            f"{path} is of another dataset: it has {len(table)} frames in {len(np.unique(episodes))} episodes, this "
            f"one {len(episode)} in {len(starts)}, or other lengths; compute the progress of this one"
        )
    return _finite(progress, episode)


def _episodes(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the episode of each frame."""
    return np.repeat(np.arange(len(starts)), ends - starts)


def _finite(progress: NDArray[np.floating], episode: NDArray[np.int64]) -> NDArray[np.float32]:
    bad = np.flatnonzero(~np.isfinite(progress))
    if bad.size:
        raise UserError(
            f"the progress holds NaN or infinity, first in episode {episode[bad[0]]}: compute that of every frame"
        )
    return progress.astype(np.float32)


def _read(path: Path) -> pa.Table:
    """Read the file, its rows in the order of the frames."""
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is no parquet file that can be read: give the file of a dataset's progress") from error
    if missing := [key for key in (INDEX, EPISODE, PROGRESS) if key not in names]:
        raise UserError(
            f"{path} has no column '{missing[0]}', only {', '.join(names)}: write it with "
            "`robolearn.data.progress.write_progress`, or LeRobot's with --head-mode sparse or both"
        )
    return pq.read_table(path, columns=[INDEX, EPISODE, PROGRESS]).sort_by(INDEX)
