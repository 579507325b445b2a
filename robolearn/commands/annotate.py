"""`robolearn annotate`: stages and progress for a dataset, from turns in its channels or from a reward model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.commands.common import console, progress
from robolearn.commands.readings import model_folder, open_reader, read_dataset, with_pictures
from robolearn.config import AnnotateConfig
from robolearn.data.annotating import annotate, has_stages
from robolearn.data.copying import require_new
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.progress import PROGRESS_FILE, write_progress
from robolearn.data.raw import RawDataset
from robolearn.errors import UserError, nearest
from robolearn.normalize import Normalizer
from robolearn.rewards.decompose import decompose
from robolearn.rewards.labels import steady

DECOMPOSE = "decompose"


def run(config: AnnotateConfig) -> None:
    """Find the stages of a dataset and write a copy that has them, or write its progress."""
    root, out = Path(config.dataset), None if config.out is None else Path(config.out)
    source = RawDataset.load(root)
    _require_place(source, out, overwrite=config.overwrite)
    if config.with_ != DECOMPOSE:
        by_model(source, Path(config.with_), out, flicker=config.flicker)
        return
    if out is None:
        raise UserError("decompose finds stages and no progress, and stages are written into a copy: give out=FOLDER")
    names, stages = by_turns(
        EpisodeDataset.load(root), config.observations, min_gap=config.min_gap, smoothing=config.smoothing
    )
    _write_copy(source, names, stages, out)


def by_turns(
    data: EpisodeDataset, observations: Sequence[str] | None, *, min_gap: float, smoothing: float
) -> tuple[tuple[str, ...], list[NDArray[np.int64]]]:
    """Find stages by `robolearn.rewards.decompose`; shows a bar.

    Args:
        data: episodes of one task. Those whose column "success" says no are failures.
        observations: channels that are looked at, each component normalised; None means all vectors that are observed.
        min_gap: seconds that subgoals are apart at least.
        smoothing: deviation in seconds of the Gaussian that smoothes distances.

    Returns:
        Names of the stages, and the stage [T] of each episode.

    Raises:
        UserError: a channel is no observed vector; there is no success, or no turn in successes.
    """
    vectors = data.schema.observation_keys
    keys = vectors if observations is None else observations
    if unknown := [key for key in keys if key not in vectors]:
        raise UserError(f"{data.root} has no observed vector '{unknown[0]}'{nearest(unknown[0], vectors)}")
    if not keys:
        raise UserError(f"{data.root} has no observed vectors, which decompose looks at: let a reward model annotate")
    normalizer = Normalizer(data.schema, data.statistics)
    seen = np.concatenate([normalizer[key](data.channels[key]) for key in keys], axis=1).astype(np.float64)
    success = [bool(one) for one in data.columns.get("success", [True] * data.num_episodes)]
    with progress("decompose", data.num_episodes) as advance:
        names, stages = decompose(
            [seen[a:b] for a, b in zip(data.starts, data.ends, strict=True)],
            success,
            min_gap=round(min_gap * data.schema.fps),
            smoothing=smoothing * data.schema.fps,
            advance=advance,
        )
    if len(names) == 1:
        raise UserError(
            "most successes have no turn that lasts: lower min_gap or smoothing, or look at other observations=[...]"
        )
    return names, stages


def by_model(source: RawDataset, folder: Path, out: Path | None, *, flicker: float) -> None:
    """Write what a reward model says of a dataset; a killed run goes on where it was.

    Args:
        source: the dataset.
        folder: of a reward model, ours or LeRobot's.
        out: folder of the annotated copy, which has the progress beside it; None writes the progress into the dataset.
        flicker: seconds; shorter stages are passed over.

    Raises:
        UserError: the folder holds no reward model or one without stages, or the dataset lacks a channel.
    """
    folder, data = model_folder(folder), EpisodeDataset.load(source.root)
    reader = open_reader(folder, data)
    if out is not None and not reader.stage_names:
        raise UserError(f"{folder} knows of no stages: give out=null to write its progress into the dataset alone")
    data = with_pictures(data, reader)
    target = (out or source.root).resolve()
    kept = target.with_name(f".{target.name}.readings")
    readings = read_dataset(reader, data, identity=_identity(folder, data), kept=kept)

    def write(place: Path) -> None:
        path = place / PROGRESS_FILE
        write_progress(path, readings.progress, starts=data.starts, ends=data.ends, source=str(folder.resolve()))

    if out is None:
        write(source.root)
        console.print(f"progress of {data.num_frames} frames in {source.root / PROGRESS_FILE}")
    else:
        stages = [steady(stage, round(flicker * source.fps)) for stage in readings.stages]
        _write_copy(source, reader.stage_names, stages, out, complete=write)
    shutil.rmtree(kept)


def _require_place(source: RawDataset, out: Path | None, *, overwrite: bool) -> None:
    if out is not None:
        require_new(out)
    if overwrite:
        return
    if out is not None and has_stages(source):
        names = ", ".join(source.stage_names) or "unnamed"
        raise UserError(f"{source.root} has stages ({names}): give overwrite=true to put others in their place")
    if out is None and (source.root / PROGRESS_FILE).exists():
        raise UserError(f"{source.root / PROGRESS_FILE} exists: give overwrite=true to replace it")


def _identity(folder: Path, data: EpisodeDataset) -> dict[str, Any]:
    """What readings depend on: the model's files, and the dataset."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "model": str(folder.resolve()),
        "files": [[str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns] for path in files],
        "dataset": str(data.root.resolve()),
        "ends": data.ends.tolist(),
    }


def _write_copy(
    source: RawDataset,
    names: Sequence[str],
    stages: Sequence[NDArray[np.int64]],
    out: Path,
    *,
    complete: Callable[[Path], object] = lambda root: None,
) -> None:
    with progress("write", source.num_episodes) as advance:
        annotate(source, stages, names, out, advance=advance, complete=complete)
    share = np.bincount(np.concatenate(stages), minlength=len(names)) / sum(map(len, stages))
    text = ", ".join(f"{name} {part:.0%}" for name, part in zip(names, share, strict=False))
    console.print(f"{len(names)} stages, of all frames {text}; copy of {source.num_episodes} episodes in {out}")
