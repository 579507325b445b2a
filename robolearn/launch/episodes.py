"""Episodes as plain arrays, the way they travel from workers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robolearn.eval.rollout import Episode
from robolearn.launch.job import Result

FRAMES = "frames/"


def pack(episodes: Sequence[Episode]) -> Result:
    """Return one array per attribute [episodes] and per recorded channel [frames of all episodes, ...]."""
    arrays: Result = {
        "seed": np.array([e.seed for e in episodes], np.int64),
        "success": np.array([e.success for e in episodes], bool),
        "length": np.array([e.length for e in episodes], np.int64),
        "instruction": np.array([e.instruction for e in episodes], np.str_),
        "told": np.array([e.told for e in episodes], np.str_),
    }
    for key in episodes[0].frames:
        arrays[FRAMES + key] = np.concatenate([e.frames[key] for e in episodes])
    return arrays


def unpack(arrays: Result) -> list[Episode]:
    """Undo `pack`; frames are views of its arrays."""
    ends = np.cumsum(arrays["length"])
    episodes = []
    for k, end in enumerate(ends):
        span = slice(end - arrays["length"][k], end)
        episodes.append(
            Episode(
                seed=int(arrays["seed"][k]),
                success=bool(arrays["success"][k]),
                length=int(arrays["length"][k]),
                instruction=str(arrays["instruction"][k]),
                told=str(arrays["told"][k]),
                frames={key.removeprefix(FRAMES): x[span] for key, x in arrays.items() if key.startswith(FRAMES)},
            )
        )
    return episodes
