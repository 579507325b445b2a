"""The dataset that a writer finds in its folder: whether it is the same one, and what a killed writer left."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from robolearn.data import layout
from robolearn.errors import UserError
from robolearn.schema import Schema, SchemaError


def own_schema(schema: Schema, *, stage_names: Sequence[str], stage_sentences: Sequence[str]) -> dict[str, Any]:
    """Return the content of `robolearn_schema.json`: what LeRobot's own files have no place for."""
    spoken = {"stage_sentences": list(stage_sentences)} if stage_sentences else {}
    return {**schema.to_dict(), "stage_names": list(stage_names), **spoken}


def require_same_dataset(
    root: Path,
    schema: Schema,
    *,
    stage_names: Sequence[str],
    stage_sentences: Sequence[str],
    robot_type: str,
    features: Mapping[str, Any],
) -> None:
    """Check that the dataset in `root` is the one that would be written.

    Raises:
        UserError: naming what differs.
    """
    path = root / layout.OWN_SCHEMA
    if not path.exists():
        raise UserError(f"{root} holds a dataset that robolearn did not write: give another folder")
    there, info = json.loads(path.read_text()), json.loads((root / layout.INFO).read_text())
    advice = f"give another folder than {root}"
    theirs = Schema.from_dict(there)
    try:
        schema.require_same(theirs, what="the dataset on disk")
    except SchemaError as error:
        raise UserError(f"{error}: {advice}") from error
    for key, feature in theirs.features.items():
        if feature != schema[key]:
            raise UserError(f"channel '{key}' has other bounds or another role in the dataset on disk: {advice}")
        if (stored := info["features"][key]["dtype"]) != features[key]["dtype"]:
            raise UserError(f"the dataset on disk keeps the pictures of '{key}' as {stored}: {advice}")
    if tuple(there["stage_names"]) != tuple(stage_names):
        raise UserError(f"the dataset on disk has the stages {there['stage_names']}: {advice}")
    if tuple(there.get("stage_sentences", ())) != tuple(stage_sentences):
        raise UserError(f"the dataset on disk has other sentences for its stages, or none: {advice}")
    if info["robot_type"] != robot_type:
        raise UserError(f"the dataset on disk is of robot '{info['robot_type']}', not '{robot_type}': {advice}")


def tidy(root: Path, *, known: Collection[Path]) -> None:
    """Delete what a killed writer left: files of data and pictures that no metadata knows, and unfinished ones.

    Raises:
        UserError: a file that the metadata knows is missing.
    """
    for pattern in ("data/*/*.parquet", "videos/*/*/*.mp4"):
        for file in root.glob(pattern):
            if file not in known:
                file.unlink()
    for file in root.rglob(".*.tmp"):
        file.unlink()
    if missing := [file for file in sorted(known) if not file.exists()]:
        raise UserError(f"{missing[0]} is missing, though the metadata lists it: delete {root}, collect anew")
