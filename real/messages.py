"""What goes between control loop and inference process.

Plain bytes: a header, then arrays of the channels' types, or the instruction where an activation begins or a new one is
given. `robolearn.real.transport` carries them.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.protocols import Observation
from robolearn.schema import Schema

Array = NDArray[np.float32]

RESET, OBSERVE, TELL, WATCH, REPLAN = range(5)  # REPLAN observes, too
REQUEST = struct.Struct("<iqq")  # kind, epoch, tick or seed
ANSWER = struct.Struct("<qqdq")  # epoch, tick, s of inference, chunk; then actions, none where the plan has run out
READY = b"ready"


@dataclass(frozen=True)
class Answer:
    """A plan for the observation of one tick.

    Attributes:
        epoch: which activation asked.
        tick: control step that the first action is for.
        actions: [m, action_dim]; the rest says what to do if no newer answer arrives.
        duration: s that inference took.
        person: whether it is a person's action, not the policy's.
        chunk: control step whose observation the newest chunk in the plan was inferred from; -1 where nobody says.
    """

    epoch: int
    tick: int
    actions: Array
    duration: float
    person: bool = False
    chunk: int = -1


def pack(schema: Schema, observation: Observation) -> bytes:
    """Observation channels in the schema's order, each of its own type: pictures are bytes."""
    return b"".join(
        np.ascontiguousarray(observation[key], schema[key].array_dtype).tobytes() for key in schema.observation_keys
    )


def packed_size(schema: Schema) -> int:
    """Bytes of what `pack` makes."""
    return sum(math.prod(schema[key].shape) * schema[key].array_dtype.itemsize for key in schema.observation_keys)


def unpack(schema: Schema, data: bytes) -> dict[str, NDArray[Any]]:
    """Arrays [1, *shape] by channel from what `pack` made."""
    arrays, at = {}, 0
    for key in schema.observation_keys:
        shape, dtype = schema[key].shape, schema[key].array_dtype
        values = np.frombuffer(data, dtype, math.prod(shape), at)
        arrays[key] = values.reshape(1, *shape)
        at += values.nbytes
    return arrays
