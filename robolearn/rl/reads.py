"""What a base policy read at a frame, kept beside what the learner sees, so that the base can be asked again later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.language import TASK
from robolearn.protocols import Policy

HISTORY = "history."
TASK_BYTES = 256  # of an instruction in UTF-8; what is beyond is cut off

Arrays = Mapping[str, NDArray[Any]]


def stored(read: Arrays) -> dict[str, NDArray[Any]]:
    """Turn an observation [n, n_obs_steps, ...] of `ChunkActor.read` into fields of a frame.

    Pictures without history are left out, for a frame has them already.
    """
    fields = {HISTORY + key: values.copy() for key, values in read.items() if key != TASK and not _is_frame(values)}
    if TASK in read:
        fields[HISTORY + TASK] = np.stack([_bytes(text) for text in read[TASK]])
    return fields


def observation(frames: Arrays, policy: Policy) -> dict[str, NDArray[Any]]:
    """What `policy` reads [n, n_obs_steps, ...] from frames that have the fields of `stored`."""
    read = {
        key: frames[HISTORY + key] if HISTORY + key in frames else frames[key][:, None]
        for key in policy.schema.observation_keys
    }
    if policy.reads_task:
        read[TASK] = np.array([_text(row) for row in frames[HISTORY + TASK]])
    return read


def _is_frame(values: NDArray[Any]) -> bool:
    return values.dtype == np.uint8 and values.shape[1] == 1


def _bytes(text: str) -> NDArray[np.uint8]:
    raw = str(text).encode()[:TASK_BYTES]
    return np.frombuffer(raw.ljust(TASK_BYTES, b"\0"), np.uint8)


def _text(row: NDArray[np.uint8]) -> str:
    return row.tobytes().rstrip(b"\0").decode(errors="ignore")
