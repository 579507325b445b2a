"""Give the episodes of a dataset other stages, in a copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from robolearn.data import language, layout, stages
from robolearn.data.copying import Selection, copy_episodes
from robolearn.data.episode_checks import checked_stages
from robolearn.data.episode_rows import column_type
from robolearn.data.existing import own_schema
from robolearn.data.frame_table import number_column
from robolearn.data.inferred_schema import infer_schema
from robolearn.data.raw import SUBTASKS, RawDataset
from robolearn.errors import UserError
from robolearn.schema import BOOKKEEPING, Schema


def annotate(
    source: RawDataset,
    labels: Sequence[NDArray[np.integer]],
    names: Sequence[str],
    out: Path,
    *,
    advance: Callable[[int], object] = lambda n: None,
    complete: Callable[[Path], object] = lambda root: None,
) -> None:
    """Write a copy of a dataset with these stages; a killed copy leaves nothing at `out`.

    The copy has `observation.stage`, LeRobot's annotation columns and the stages' shares of time, as `DatasetWriter`
    makes them. What was said of other stages is left out: the simulator's progress, and the stages' sentences.

    Args:
        source: the dataset, of any writer.
        labels: stage [T] of each episode, in order; `len(names)` where all is done.
        names: of the stages, in order.
        out: the new folder.
        advance: told of every episode copied.
        complete: given the folder of the finished copy before it takes its place.

    Raises:
        UserError: labels are missing, misshapen or out of range; `out` exists; frames are missing.
    """
    if len(labels) != source.num_episodes:
        raise UserError(f"stages of {len(labels)} episodes, but {source.root} has {source.num_episodes}: give all")
    checked = []
    for i, (stage, row) in enumerate(zip(labels, source.rows, strict=True)):
        label = checked_stages(stage, names, length=row["length"], episode=i)
        assert label is not None  # as there are labels and names
        checked.append(label)
    dropped = _contradicted(source)
    view = _with_stages(source, checked, names, dropped)

    def change(episode: int, table: pa.Table) -> pa.Table:
        return _with_stage_column(table.drop_columns(dropped), checked[episode])

    selection = Selection(view, range(source.num_episodes), change)
    copy_episodes([selection], out, advance=advance, complete=complete)


def has_stages(source: RawDataset) -> bool:
    """Whether somebody has told the stages of a dataset's frames."""
    annotated = any(name.startswith(("subtask_", *SUBTASKS)) for name in source.episodes.column_names)
    return annotated or layout.STAGE in source.features or bool(source.stage_names)


def _contradicted(source: RawDataset) -> list[str]:
    """Columns of frames that tell of other stages."""
    told = [layout.PROGRESS]
    if (source.own or {}).get("stage_sentences"):  # else the language columns are not of stages
        told += [language.PERSISTENT, language.EVENTS]
    return [key for key in told if key in source.features]


def _with_stages(
    source: RawDataset, labels: Sequence[NDArray[np.int64]], names: Sequence[str], dropped: Sequence[str]
) -> RawDataset:
    """Return a dataset whose metadata is that of the copy."""
    gone = (layout.STAGE, *dropped)
    channels = {key: feature for key, feature in source.features.items() if key not in gone}
    bookkeeping = {key: feature for key, feature in source.info["features"].items() if key in BOOKKEEPING}
    stage = Schema({layout.STAGE: layout.STAGE_FEATURE}, source.fps).to_lerobot()
    info = source.info | {"features": {**channels, **stage, **bookkeeping}}
    return replace(source, info=info, own=_own(source, names, gone), episodes=_with_segments(source, labels, names))


def _own(source: RawDataset, names: Sequence[str], gone: Sequence[str]) -> dict[str, Any]:
    """Return the content of the copy's `robolearn_schema.json`."""
    schema = source.schema or infer_schema(source.info["features"], fps=source.fps)
    features = {key: feature for key, feature in schema.features.items() if key not in gone}
    told = Schema({**features, layout.STAGE: layout.STAGE_FEATURE}, schema.fps)
    return own_schema(told, stage_names=names, stage_sentences=())


def _with_segments(source: RawDataset, labels: Sequence[NDArray[np.int64]], names: Sequence[str]) -> pa.Table:
    """Return the episodes' metadata with LeRobot's annotation columns."""
    told = [stages.columns(stage, names) for stage in labels]
    episodes = source.episodes.select([c for c in source.episodes.column_names if not c.startswith(SUBTASKS)])
    for name in told[0]:
        values = [row[name] for row in told]
        episodes = episodes.append_column(name, pa.array(values, column_type(name, values[0])))
    return episodes


def _with_stage_column(table: pa.Table, stage: NDArray[np.int64]) -> pa.Table:
    """Return frames with these stages, in the place that `DatasetWriter` gives them: after the other channels."""
    if layout.STAGE in table.column_names:
        table = table.drop_columns([layout.STAGE])
    place = min(table.column_names.index(name) for name in BOOKKEEPING if name in table.column_names)
    return table.add_column(place, layout.STAGE, number_column(stage[:, None]))
