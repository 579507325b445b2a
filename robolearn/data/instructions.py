"""The file of a dataset's instructions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robolearn.data import layout
from robolearn.data.files import replacing


def write_instructions(root: Path, names: Sequence[str]) -> None:
    """Write all instructions in one piece; a frame's `task_index` is the place in them."""
    import pandas as pd  # LeRobot reads the index back, which only pandas' own metadata marks

    table = pd.DataFrame({"task_index": range(len(names))}, index=pd.Index(names, name="task"))
    with replacing(root / layout.TASKS) as path:
        table.to_parquet(path)
