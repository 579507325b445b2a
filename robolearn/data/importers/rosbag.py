"""rosbag2 recordings (MCAP or sqlite3), through a contract that says which topic becomes which channel."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.data.importers.bag import Series, has_frames, read_bag, read_pictures
from robolearn.data.importers.bag_contract import FILE, BagContract, continued, read_bag_contract, spread
from robolearn.data.importers.recordings import SOURCE, Recorded, Recordings, role_of
from robolearn.data.importers.resample import SECOND, TooOldError, episodes
from robolearn.data.importers.unfinished import finish, is_bag
from robolearn.data.inferred_schema import AXES
from robolearn.errors import UserError
from robolearn.schema import Feature, Schema, SchemaError

log = logging.getLogger(__name__)
Places = NDArray[np.intp]
Parts = Sequence[Path]  # folders of a recording, in order
Pictures = Mapping[int, Mapping[int, NDArray[np.uint8]]]


def find_bags(source: Path) -> list[Path]:
    """Return the recordings in a folder: itself, or those in it by name; those that were not finished, too."""
    if is_bag(source):
        return [source]
    return sorted(path for path in source.iterdir() if path.is_dir() and is_bag(path))


def read_bags(source: Path, contract: Path | None, *, task: str | None) -> Recordings:
    """Open recordings; each gives an episode, or several where it is cut.

    Args:
        source: a rosbag2 folder, or a folder of several.
        contract: YAML, see docs/data.md; None takes the one that lies beside each recording.
        task: the instruction; None takes the contract's.

    Recordings in which no frame was recorded are left out, e.g. of an activation that was stopped at once.

    Raises:
        UserError: there is no contract or no recording, a topic is missing or has no messages, or there is no frame.
    """
    bags = find_bags(source)
    if not bags:
        raise UserError(f"{source} is no rosbag2 recording: there is no metadata.yaml in it or in its folders")

    def contract_of(bag: Path) -> BagContract:
        own = contract if contract is not None else bag / FILE
        if contract is None and not own.exists():
            raise UserError(
                f"a rosbag needs contract=FILE, which says what becomes which channel, for there is no {own}: see "
                "docs/data.md"
            )
        return read_bag_contract(own, task=task)

    for bag in bags:
        finish(bag)
    used = _with_frames([(parts, contract_of(parts[0])) for parts in _join(bags)])
    if not used:
        raise UserError(f"no recording in {source} has a frame: no message is on the topic of its contract's `frames`")
    first, given = used[0]
    schema = make_schema(given, read_bag(first, given).series)
    return Recordings(schema, given.robot, len(used), (convert(parts, each, schema) for parts, each in used))


def _join(bags: Sequence[Path]) -> list[list[Path]]:
    """The parts of each recording, in order: one that grew too large goes on in another folder."""
    names = {bag.name for bag in bags}
    before = {bag: name for bag in bags if (name := continued(bag)) is not None}
    after: dict[str, Path] = {}
    for bag, name in before.items():
        if name in names:
            after.setdefault(name, bag)  # of copies the first
        else:
            log.warning("%s goes on from %s, which is not there: it is read without", bag, name)
    inner = set(after.values())
    recordings = [[bag] for bag in bags if bag not in inner]
    for parts in recordings:
        while (following := after.get(parts[-1].name)) is not None:
            parts.append(following)
    return recordings


def _with_frames(recordings: Sequence[tuple[Parts, BagContract]]) -> list[tuple[Parts, BagContract]]:
    used = []
    for parts, contract in recordings:
        if has_frames(parts, contract):
            used.append((parts, contract))
        else:
            log.warning("%s is left out: not one frame was recorded", parts[0])
    return used


def make_schema(contract: BagContract, series: Sequence[Series]) -> Schema:
    """Return the channels that the messages of a recording make.

    Raises:
        UserError: a channel is of several pictures, or of pictures and numbers; names, units or bounds do not fit.
    """
    features = {key: _feature(contract, key, [series[i] for i in contract.channels[key]]) for key in contract.channels}
    return Schema(features, contract.fps)


def _feature(contract: BagContract, key: str, parts: Sequence[Series]) -> Feature:
    if any(part.shape for part in parts):
        if len(parts) > 1:
            raise UserError(f"{contract.path}: channel '{key}' is of pictures: give it one topic")
        return Feature("image", parts[0].shape, AXES, ("1",) * 3, role_of(key))
    sources = [contract.sources[i] for i in contract.channels[key]]
    names = tuple(name for part in parts for name in part.names)
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{contract.path}: channel '{key}' has two components '{twice[0]}': give each topic `names`")
    both = list(zip(sources, parts, strict=True))
    units = tuple(unit for source, part in both for unit in spread(source.unit, len(part.names), f"'{key}'"))
    bounds: list[tuple[float, ...] | None] = []
    for given in ([source.low for source in sources], [source.high for source in sources]):
        values = [spread(b, len(p.names), f"'{key}'") for b, p in zip(given, parts, strict=True) if b is not None]
        bounds.append(tuple(v for value in values for v in value) if len(values) == len(parts) else None)
    return Feature(sources[0].dtype, (len(names),), names, units, role_of(key), bounds[0], bounds[1])


def convert(parts: Parts, contract: BagContract, schema: Schema) -> list[Recorded]:
    """Return the episodes of a recording.

    Raises:
        UserError: its messages make other channels than the schema's, or one comes too late and must not.
    """
    data = read_bag(parts, contract)
    series = data.series
    try:
        schema.require_same(make_schema(contract, series), what=str(parts[0]))
    except SchemaError as error:
        raise UserError(f"the recordings differ: {error}") from error
    pieces = [places for places in _resample(parts, contract, series) if len(places)]
    verdicts = _assign(data.verdicts, [_begin(contract, series, places) for places in pieces])
    kept = [i for i, places in enumerate(pieces) if len(places) >= contract.min_frames]
    found = [pieces[i] for i in kept]
    pictures = _decode(parts, contract, series, found)
    return [
        Recorded(
            {
                key: _channel(contract.channels[key], series, pictures, places).astype(_dtype(schema[key]))
                for key in contract.channels
            },
            data.task,
            {SOURCE: parts[0].name, **contract.columns, **_verdict(contract, verdicts.get(i))},
        )
        for i, places in zip(kept, found, strict=True)
    ]


def _dtype(feature: Feature) -> str:
    return "uint8" if feature.dtype == "image" else feature.dtype


def _begin(contract: BagContract, series: Sequence[Series], places: Places) -> int:
    """When the first frame is, in ns; without `frames` in the contract, when its newest message came."""
    which = range(len(series)) if contract.frames is None else [contract.frames]
    return max(int(series[i].times[places[0, i]]) for i in which)


def _assign(verdicts: Sequence[tuple[int, bool]], begins: Sequence[int]) -> dict[int, bool]:
    """Verdicts by the episode that had begun last when each was said; of several the last counts."""
    said = [(bisect_right(begins, time) - 1, success) for time, success in verdicts]
    return {episode: success for episode, success in said if episode >= 0}


def _verdict(contract: BagContract, success: bool | None) -> dict[str, Any]:
    """Columns of an episode."""
    if contract.verdict_topic is None:
        return {}
    return {"success": success is True, "verdict": "unsaid" if success is None else "success" if success else "failure"}


def _resample(parts: Parts, contract: BagContract, series: Sequence[Series]) -> list[Places]:
    times = [part.times for part in series]
    frames = None if contract.frames is None else times[contract.frames]
    try:
        return episodes(times, [source.rule for source in contract.sources], fps=contract.fps, frames=frames)
    except TooOldError as error:
        source = contract.sources[error.channel]
        seconds = (error.time - min(part[0] for part in times)) / SECOND
        raise UserError(
            f"{parts[0]}: {source.topic} has no message within {source.rule.tolerance:g} s of the frame at "
            f"{seconds:.3f} s: raise `tolerance`, or set `too_old: cut` or `resample: drop` in the contract"
        ) from error


def _decode(parts: Parts, contract: BagContract, series: Sequence[Series], found: Sequence[Places]) -> Pictures:
    """Decode only the pictures that a frame takes."""
    seen = [i for i, part in enumerate(series) if part.shape]
    wanted = {i: {int(series[i].values[place]) for places in found for place in places[:, i]} for i in seen}
    return read_pictures(parts, contract, wanted, {i: series[i].shape for i in seen})


def _channel(parts: Sequence[int], series: Sequence[Series], pictures: Pictures, places: Places) -> NDArray[Any]:
    if series[parts[0]].shape:
        i = parts[0]
        return np.stack([pictures[i][int(series[i].values[place])] for place in places[:, i]])
    return np.concatenate([series[i].values[places[:, i]] for i in parts], axis=1)
