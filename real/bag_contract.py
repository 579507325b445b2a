"""The contract that lies beside each recording, so that `robolearn data import` makes a dataset of it by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from robolearn.real.bag_messages import INTERVENTION, VERDICT, frame_topic
from robolearn.schema import Feature, Schema

FILE = "contract.yaml"


def make_contract(
    schema: Schema, *, robot: str, task: str, columns: dict[str, str], continues: str = ""
) -> dict[str, Any]:
    """Return a contract as plain data; docs/data.md says what its options mean.

    Args:
        schema: the bundle's channels.
        robot: its name.
        task: the instruction.
        columns: texts that each episode is marked with, e.g. where it comes from.
        continues: name of the folder of the recording that goes on in this one, "" if none does.
    """
    keys = (*schema.observation_keys, "action")
    channels = {key: _source(key, schema[key], tolerance=0.5 / schema.fps) for key in keys}
    labels = {"topic": frame_topic(INTERVENTION), "names": [INTERVENTION], "unit": "1", "dtype": "bool"}
    return {
        "fps": schema.fps,
        "robot": robot,
        "task": task,
        "frames": frame_topic("action"),
        "verdict_topic": VERDICT,
        "columns": columns,
        **({"continues": continues} if continues else {}),
        "channels": {**channels, INTERVENTION: labels},
    }


def _source(key: str, feature: Feature, *, tolerance: float) -> dict[str, Any]:
    entry: dict[str, Any] = {"topic": frame_topic(key), "resample": "asof", "tolerance": tolerance, "too_old": "cut"}
    if feature.is_picture:
        return entry
    entry |= {"names": list(feature.names), "unit": list(feature.unit)}
    for name in ("low", "high"):
        if (bound := getattr(feature, name)) is not None:
            entry[name] = list(bound)
    return entry


def write_contract(folder: Path, contract: dict[str, Any]) -> None:
    """Write `contract.yaml`."""
    text = yaml.safe_dump(contract, sort_keys=False, allow_unicode=True, width=120)
    (folder / FILE).write_text("# how `robolearn data import` reads this recording\n" + text, encoding="utf-8")
