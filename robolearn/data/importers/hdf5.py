"""robomimic's and robosuite's HDF5 files of demonstrations.

Layout: `data/demo_<i>` with `obs/<key>` [T, ...], `actions` [T, n], `rewards` and `dones` [T]; the attribute `env_args`
of `data` is JSON with the environment's name and settings; `mask/<name>` lists subsets of the demonstrations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.data.importers.contract import Contract, Entries, read_contract
from robolearn.data.importers.recordings import SOURCE, Recorded, Recordings, role_of
from robolearn.data.inferred_schema import AXES, UNKNOWN_UNIT
from robolearn.errors import UserError, nearest
from robolearn.schema import Feature, Schema

OPTIONS = ("fps", "robot", "task", "mask")
PROPRIOCEPTION = ("joint_pos", "eef_pos", "eef_quat", "gripper_qpos")  # of each robot, in this order
OBJECTS = ("object", "object-state")  # robomimic's and robosuite's name
# what the end of a key says about its components
KNOWN = {
    "_eef_pos": (("x", "y", "z"), "m"),
    "_eef_quat": (("qx", "qy", "qz", "qw"), "1"),
    "_joint_pos": (None, "rad"),
    "_joint_vel": (None, "rad/s"),
    "_gripper_qpos": (None, "m"),
}
LABELS = {"rewards": ("next.reward", "float32"), "dones": ("next.done", "bool")}  # LeRobot's names


def read_hdf5(source: Path, contract: Path | None, *, task: str | None) -> Recordings:
    """Open a file of demonstrations.

    Without a contract, `observation.state` is the robots' joints, tool pose and gripper,
    `observation.environment_state` the objects, and every picture `<camera>_image` is `observation.images.<camera>`.

    Args:
        source: the file.
        contract: YAML with `fps`, `robot`, `task`, `mask`, and `channels` of keys of the file; or None.
        task: the instruction; None takes the contract's, or else the environment's name.

    Raises:
        UserError: the file has no demonstrations with observations, or lacks a key.
    """
    import h5py

    given = read_contract(contract, options=OPTIONS, entry="key", entry_options=())
    with _open(h5py, source) as file:
        demos = _demos(file, given, source)
        first = file["data"][demos[0]]
        arguments = _arguments(file["data"].attrs)
        channels = given.channels or _default_channels(first, source)
        schema = _schema(first, channels, given, fps=given.number("fps", _control_rate(arguments)))
        if _within_one(file, demos):
            schema = _bounded(schema)
    settings = arguments.get("env_kwargs", {})
    robot = given.options.get("robot") or settings.get("robots") or "unknown"
    robot = "+".join(map(str, robot)) if isinstance(robot, list) else str(robot)
    said = task or given.options.get("task") or arguments.get("env_name") or source.stem
    episodes = _episodes(h5py, source, demos, channels, schema, str(said))
    return Recordings(schema, robot.lower(), len(demos), episodes)


def _open(h5py: Any, source: Path) -> Any:
    try:
        return h5py.File(source, "r")
    except OSError as error:
        raise UserError(f"{source} cannot be read as HDF5 ({error}): check the path, or copy it anew") from error


def _demos(file: Any, contract: Contract, source: Path) -> list[str]:
    """Names of the demonstrations in the order of their numbers."""
    names = [name for name in file.get("data", ()) if "actions" in file["data"][name]]
    if not names:
        raise UserError(f"{source} has no demonstrations data/demo_<i> with actions: is it a robomimic file?")
    mask = contract.options.get("mask")
    if mask is not None:
        masks = file.get("mask", {})
        if mask not in masks:
            raise contract.fail(f"the file has no mask '{mask}'{nearest(str(mask), masks)}")
        wanted = {name.decode() if isinstance(name, bytes) else str(name) for name in masks[mask][()]}
        names = [name for name in names if name in wanted]
    return sorted(names, key=lambda name: [int(digits) for digits in re.findall(r"\d+", name)] or [0])


def _arguments(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """`env_args`, or what of it older files of robosuite have."""
    if "env_args" in attributes:
        arguments: dict[str, Any] = json.loads(attributes["env_args"])
        return arguments
    return {"env_name": str(attributes["env"])} if "env" in attributes else {}


def _control_rate(arguments: Mapping[str, Any]) -> int:
    return int(arguments.get("env_kwargs", {}).get("control_freq", 20))


def _default_channels(demo: Any, source: Path) -> Entries:
    if "obs" not in demo:
        raise UserError(
            f"{source} holds simulator states but no observations: make them with robomimic's "
            "`dataset_states_to_obs.py`, then import the result"
        )
    keys = list(demo["obs"])
    robots = sorted({match[0] for key in keys if (match := re.match(r"robot\d+_", key))})
    state = [robot + name for robot in robots for name in PROPRIOCEPTION if robot + name in keys]
    chosen = {
        "observation.state": state,
        "observation.environment_state": [key for key in OBJECTS if key in keys][:1],
        **{f"observation.images.{key.removesuffix('_image')}": [key] for key in keys if _is_rgb(demo["obs"][key])},
        "action": ["actions"],
        **{name: [key] for key, (name, _) in LABELS.items() if key in demo},
    }
    return {key: tuple({"key": part} for part in parts) for key, parts in chosen.items() if parts}


def _is_rgb(values: Any) -> bool:
    return values.ndim == 4 and values.shape[-1] == 3 and values.dtype == np.uint8


def _find(demo: Any, key: str) -> Any:
    """An array of a demonstration: an observation, or what stands beside them.

    Raises:
        UserError: there is none of this name.
    """
    observations = demo.get("obs", {})
    if key in observations:
        return observations[key]
    if key in demo and key not in ("obs", "next_obs"):
        return demo[key]
    valid = [*observations, *(name for name in demo if name not in ("obs", "next_obs"))]
    raise UserError(f"the file has no '{key}' in {demo.name}{nearest(key, valid)}")


def _schema(demo: Any, channels: Entries, contract: Contract, *, fps: int) -> Schema:
    if "action" not in channels:
        raise contract.fail("`channels` lacks 'action': add `action: actions`")
    return Schema({key: _feature(demo, key, parts) for key, parts in channels.items()}, fps)


def _feature(demo: Any, channel: str, parts: tuple[dict[str, Any], ...]) -> Feature:
    arrays = {part["key"]: _find(demo, part["key"]) for part in parts}
    first = next(iter(arrays.values()))
    if first.ndim == 4:
        if len(arrays) > 1:
            raise UserError(f"channel '{channel}' is made of several pictures: give one key")
        picture = _is_rgb(first)
        dtype, unit = ("image", "1") if picture else (str(first.dtype), UNKNOWN_UNIT)
        return Feature(dtype, first.shape[1:], AXES, (unit,) * 3, role_of(channel))
    names, units = [], []
    for key, values in arrays.items():
        width = 1 if values.ndim == 1 else values.shape[1]
        known, unit = next((what for end, what in KNOWN.items() if key.endswith(end)), (None, UNKNOWN_UNIT))
        own = known if known and len(known) == width else [str(i) for i in range(width)]
        names += [key if width == 1 else f"{key}_{name}" for name in own]
        units += [unit] * width
    dtype = dict(LABELS.values()).get(channel, "float32")
    return Feature(dtype, (len(names),), tuple(names), tuple(units), role_of(channel))


def _within_one(file: Any, demos: list[str]) -> bool:
    """Whether all actions lie in [-1, 1], as robosuite's controllers want them."""
    return all(float(np.abs(file["data"][name]["actions"][()]).max(initial=0)) <= 1 for name in demos)


def _bounded(schema: Schema) -> Schema:
    width = len(schema.action.names)
    action = replace(schema.action, low=(-1.0,) * width, high=(1.0,) * width)
    return replace(schema, features={**schema.features, "action": action})


def _episodes(
    h5py: Any, source: Path, demos: list[str], channels: Entries, schema: Schema, task: str
) -> Iterator[list[Recorded]]:
    with _open(h5py, source) as file:
        for name in demos:
            demo = file["data"][name]
            frames = {key: _values(demo, parts, schema[key]) for key, parts in channels.items()}
            columns: dict[str, Any] = {SOURCE: name}
            if "rewards" in demo:
                columns["success"] = bool(demo["rewards"][()].max(initial=0) > 0)
            yield [Recorded(frames, task, columns)]


def _values(demo: Any, parts: tuple[dict[str, Any], ...], feature: Feature) -> NDArray[Any]:
    arrays = [_find(demo, part["key"])[()] for part in parts]
    if len(feature.shape) == 3:
        return arrays[0]
    flat = [array.reshape(len(array), -1) for array in arrays]
    return np.concatenate(flat, axis=1).astype(feature.dtype)
