"""Numbers and pictures from ROS messages, whatever their type.

A message is an object with a field per attribute and its type's name in `__msgtype__`, as the package `rosbags` makes
them. A path such as `points[0].positions` says which field is meant; all numbers below it count, in the order of the
message's definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.pictures import decode_compressed, decode_raw

# what is meant where a contract names no field
DEFAULT_FIELDS = {
    "sensor_msgs/msg/JointState": "position",
    "std_msgs/msg/Float64MultiArray": "data",
    "std_msgs/msg/Float32MultiArray": "data",
    "trajectory_msgs/msg/JointTrajectory": "points[0].positions",
}
NAME_FIELDS = ("name", "joint_names")  # of JointState; of JointTrajectory
COMPRESSED = "sensor_msgs/msg/CompressedImage"
PICTURES = ("sensor_msgs/msg/Image", COMPRESSED)
SKIPPED = "header"


class AbsentError(LookupError):
    """The message has the field, but nothing in it, e.g. a trajectory without points."""


class Values(NamedTuple):
    """Numbers of a message.

    Attributes:
        names: of the components.
        values: [n].
        joints: whether the names are those of joints, as the message says; else they are made from fields' names.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    joints: bool


def numbers(message: Any, path: str | None) -> Values:
    """Return what a path of a message holds.

    Raises:
        UserError: there is no such field, or it is none of numbers.
        AbsentError: it is empty.
    """
    path = path if path is not None else DEFAULT_FIELDS.get(message.__msgtype__, "")
    leaves = list(_leaves(follow(message, path), ""))
    if not leaves:
        raise UserError(f"{message.__msgtype__} holds no numbers at '{path}': give another `field`")
    values = np.concatenate([value for _, value in leaves])
    if not len(values):
        raise AbsentError(f"{message.__msgtype__} has nothing in '{path}'")
    joints = next((list(getattr(message, key)) for key in NAME_FIELDS if hasattr(message, key)), None)
    if joints and len(joints) == len(values):
        return Values(tuple(map(str, joints)), values, joints=True)
    base = path.rpartition(".")[2] or "data"
    names = [
        f"{name or base}_{i}" if len(part) > 1 else name or base for name, part in leaves for i in range(len(part))
    ]
    return Values(tuple(names), values, joints=False)


def follow(message: Any, path: str) -> Any:
    """Return what a path such as `points[0].positions` leads to.

    Raises:
        UserError: it leads nowhere; the message says where it ends.
        AbsentError: a list on the way is too short.
    """
    value = message
    for step in filter(None, path.split(".")):
        match = re.fullmatch(r"(\w+)((?:\[-?\d+\])*)", step)
        if match is None:
            raise UserError(f"cannot read the field '{path}': write it like points[0].positions")
        name, indices = match[1], [int(i) for i in re.findall(r"-?\d+", match[2])]
        if not hasattr(value, name):
            kind = getattr(value, "__msgtype__", type(value).__name__)
            known = [field.name for field in fields(value)] if is_dataclass(value) else []
            raise UserError(f"{kind} has no field '{name}'{nearest(name, known) if known else ''}")
        value = getattr(value, name)
        for i in indices:
            if not -len(value) <= i < len(value):
                raise AbsentError(f"'{path}' asks for element {i} of {len(value)} in {message.__msgtype__}")
            value = value[i]
    return value


def _leaves(value: Any, name: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    if is_dataclass(value):
        for field in fields(value):
            if field.name != SKIPPED:
                yield from _leaves(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{name}_{i}" if name else str(i))
    elif isinstance(value, bool | int | float | np.ndarray | np.number | np.bool_):
        yield name, np.atleast_1d(np.asarray(value, np.float64)).reshape(-1)


def picture(message: Any) -> NDArray[np.uint8]:
    """Return an Image or CompressedImage as RGB, uint8 [height, width, 3].

    Raises:
        UserError: it cannot be decoded, or is no picture of 8 bits, e.g. depth.
    """
    if message.__msgtype__ == COMPRESSED:
        return decode_compressed(message.data, what=f"a compressed picture ('{message.format}')")
    size = {name: int(getattr(message, name)) for name in ("height", "width", "step")}
    return decode_raw(message.data, encoding=message.encoding, **size)
