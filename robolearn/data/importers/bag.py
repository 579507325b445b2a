"""Read the messages of a rosbag2 recording that a contract asks for."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.data.importers.bag_contract import BagContract, Source
from robolearn.data.importers.messages import PICTURES, AbsentError, numbers, picture
from robolearn.data.importers.resample import SECOND, Times
from robolearn.errors import UserError, nearest
from robolearn.pictures import fit


@dataclass(frozen=True)
class Series:
    """The messages of one source.

    Attributes:
        times: [n] in ns, in order.
        values: [n, width]; of pictures, their places [n] among the topic's messages.
        names: of the components; empty where they are pictures.
        shape: of a picture; empty where they are numbers.
    """

    times: Times
    values: NDArray[Any]
    names: tuple[str, ...]
    shape: tuple[int, ...]


class _Collector:
    """Takes the messages of one source as they come."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.names = source.names or ()
        self.times: list[int] = []
        self.values: list[Any] = []
        self.shape: tuple[int, ...] = ()
        self._count = 0
        self._lacking = ""  # what was wrong with messages that were left out, the best of them
        self._missing = sys.maxsize  # names that it lacked

    def add(self, message: Any, time: int) -> None:
        """Note the value, unless the message is of other joints or has none."""
        value: Any = self._count
        self._count += 1
        if message.__msgtype__ in PICTURES:
            self.shape = self.shape or ((*self.source.size, 3) if self.source.size else picture(message).shape)
        else:
            value = self._numbers(message)
        if value is not None:
            self.values.append(value)
            self.times.append(time)

    def series(self) -> Series:
        """Everything in the order of time.

        Raises:
            UserError: there is nothing.
        """
        if not self.values:
            why = f" that can be used: {self._lacking}" if self._lacking else ": leave it out of the contract"
            raise UserError(f"{self.source.topic} has no messages{why}")
        times = np.array(self.times, np.int64)
        order = np.argsort(times, kind="stable")
        return Series(times[order], np.array(self.values)[order], () if self.shape else self.names, self.shape)

    def _numbers(self, message: Any) -> NDArray[np.float64] | None:
        try:
            found = numbers(message, self.source.field)
        except AbsentError as error:
            self._lacking = str(error)
            return None
        self.names = self.names or found.names
        if found.joints:
            place = {name: i for i, name in enumerate(found.names)}
            if missing := [name for name in self.names if name not in place]:
                if len(missing) < self._missing:
                    self._lacking = f"there is no '{missing[0]}' among {', '.join(found.names)}; correct `names`"
                    self._missing = len(missing)
                return None
            return found.values[[place[name] for name in self.names]]
        if len(found.values) != len(self.names):
            raise UserError(
                f"a message of {self.source.topic} has {len(found.values)} values, but there are {len(self.names)} "
                "names: correct `names`, or `field`"
            )
        return found.values


@dataclass(frozen=True)
class BagData:
    """What a recording holds, without pictures.

    Attributes:
        series: the messages of every source of the contract, in its order.
        task: the instruction.
        verdicts: when each was said, in ns, and whether it was success; in the order of time.
    """

    series: list[Series]
    task: str
    verdicts: list[tuple[int, bool]]


def read_bag(paths: Sequence[Path], contract: BagContract) -> BagData:
    """Return the messages of every source of the contract.

    Raises:
        UserError: a topic is missing or silent, or a message lacks what is asked for.
    """
    collectors = [_Collector(source) for source in contract.sources]
    task, verdicts = contract.task, list[tuple[int, bool]]()
    with open_bag(paths) as reader:
        wanted = defaultdict(list)
        for collector in collectors:
            wanted[collector.source.topic].append(collector)
        asked = {*wanted, *filter(None, [contract.task_topic])}
        # nobody has to say a verdict
        asked |= {topic for topic in reader.topics if topic == contract.verdict_topic}
        for topic, message, time in _messages(reader, asked, paths):
            if topic == contract.task_topic and task is None:
                task = str(message.data)
            if topic == contract.verdict_topic:
                verdicts.append((time, bool(message.data)))
            for collector in wanted[topic]:
                collector.add(message, _stamp(message, topic) if contract.header_clock else time)
    if task is None:
        raise UserError(f"{paths[0]}: {contract.task_topic} has no messages: give task=... instead")
    try:
        return BagData([collector.series() for collector in collectors], task, sorted(verdicts, key=itemgetter(0)))
    except UserError as error:
        raise UserError(f"{paths[0]}: {error}") from error


def has_frames(paths: Sequence[Path], contract: BagContract) -> bool:
    """Whether a recording has a message of the contract's `frames`; true where these are evenly spaced."""
    if contract.frames is None:
        return True
    topic = contract.sources[contract.frames].topic
    with open_bag(paths) as reader:
        return any(connection.topic == topic and connection.msgcount for connection in reader.connections)


def read_pictures(
    paths: Sequence[Path], contract: BagContract, wanted: Mapping[int, set[int]], shapes: Mapping[int, tuple[int, ...]]
) -> dict[int, dict[int, NDArray[np.uint8]]]:
    """Decode some pictures of a recording.

    Args:
        paths: the recording's parts, in order.
        contract: whose sources are meant.
        wanted: places among the topic's messages, by source.
        shapes: [height, width, 3] of each source.

    Returns:
        By source and place.
    """
    result: dict[int, dict[int, NDArray[np.uint8]]] = {i: {} for i in wanted}
    if not wanted:
        return result
    count: dict[str, int] = defaultdict(int)
    with open_bag(paths) as reader:
        topics = {contract.sources[i].topic for i in wanted}
        for topic, raw in _raw(reader, topics, paths):
            here = [i for i in wanted if contract.sources[i].topic == topic and count[topic] in wanted[i]]
            if here:
                pixels = picture(reader.deserialize(raw[2], raw[0].msgtype))
                for i in here:
                    result[i][count[topic]] = _sized(pixels, shapes[i], contract.sources[i])
            count[topic] += 1
    return result


def _sized(pixels: NDArray[np.uint8], shape: tuple[int, ...], source: Source) -> NDArray[np.uint8]:
    if source.size is None and pixels.shape != shape:
        raise UserError(f"pictures of {source.topic} change their size: give `size: [height, width]` in the contract")
    return fit(pixels, shape)


@contextmanager
def open_bag(paths: Sequence[Path]) -> Iterator[Any]:
    """Open the parts of a recording as one; messages without a definition in it are read as ROS 2 Jazzy defines them.

    Raises:
        UserError: it is damaged, or no recording.
    """
    from rosbags.highlevel import AnyReader, AnyReaderError
    from rosbags.typesys import Stores, get_typestore

    try:
        with AnyReader(paths, default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            yield reader
    except AnyReaderError as error:
        names = ", ".join(map(str, paths))
        raise UserError(f"{names} cannot be read as a rosbag2 recording ({error}): copy it anew") from error


def _raw(reader: Any, topics: set[str], paths: Sequence[Path]) -> Iterator[tuple[str, Any]]:
    known = {connection.topic for connection in reader.connections}
    for topic in sorted(topics - known):
        raise UserError(f"{paths[0]} has no topic '{topic}'{nearest(topic, known)}")
    connections = [connection for connection in reader.connections if connection.topic in topics]
    for entry in reader.messages(connections=connections):
        yield entry[0].topic, entry


def _messages(reader: Any, topics: set[str], paths: Sequence[Path]) -> Iterator[tuple[str, Any, int]]:
    for topic, (connection, time, data) in _raw(reader, topics, paths):
        yield topic, reader.deserialize(data, connection.msgtype), time


def _stamp(message: Any, topic: str) -> int:
    if not hasattr(message, "header"):
        raise UserError(f"messages of {topic} have no header: use `clock: received`")
    stamp = message.header.stamp
    return int(stamp.sec) * SECOND + int(stamp.nanosec)
