"""Stage labels as the language columns of LeRobot 0.6: what the robot is doing, said at each frame.

`language_persistent` holds all rows of the episode at every frame. Each row stays true from its time on until the next
of its style; LeRobot renders training messages from them (`lerobot.datasets.language_render`). `language_events`
holds what happens at one frame alone; there is nothing of the kind here, but LeRobot keeps the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from robolearn.data.stages import segments

PERSISTENT, EVENTS = "language_persistent", "language_events"
FEATURES: dict[str, dict[str, Any]] = {
    key: {"dtype": "language", "shape": [1], "names": None} for key in (PERSISTENT, EVENTS)
}

_ROLE, _CONTENT, _STYLE = (pa.field(name, pa.string()) for name in ("role", "content", "style"))
_TIME, _CAMERA = pa.field("timestamp", pa.float32()), pa.field("camera", pa.string())
_CALLS = pa.field("tool_calls", pa.list_(pa.string()))
PERSISTENT_ROW = pa.struct([_ROLE, _CONTENT, _STYLE, _TIME, _CAMERA, _CALLS])
EVENT_ROW = pa.struct([_ROLE, _CONTENT, _STYLE, _CAMERA, _CALLS])


def language_columns(
    stage: NDArray[np.integer], sentences: Sequence[str], *, timestamp: NDArray[np.float32]
) -> dict[str, pa.Array]:
    """Return both columns of an episode, with a row of style "subtask" wherever another stage begins.

    Args:
        stage: [T] index into `sentences`; `len(sentences)` where every stage is done, which begins nothing.
        sentences: what the robot does in each stage.
        timestamp: [T] seconds since the episode's start.
    """
    said, starts, _ = segments(stage, sentences)
    rows = [
        {"role": "assistant", "content": sentence, "style": "subtask", "timestamp": timestamp[start]}
        for sentence, start in zip(said, starts, strict=True)
    ]
    length = len(stage)
    everywhere = pa.array(rows, PERSISTENT_ROW).take(pa.array(np.tile(np.arange(len(rows)), length)))
    offsets = np.arange(length + 1, dtype=np.int32) * len(rows)
    return {
        PERSISTENT: pa.ListArray.from_arrays(pa.array(offsets), everywhere),
        EVENTS: pa.array([[]] * length, pa.list_(EVENT_ROW)),
    }
