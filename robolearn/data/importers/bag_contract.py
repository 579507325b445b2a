"""The contract of a rosbag: which topic becomes which channel, and how its messages become frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robolearn.data.importers.contract import Contract, read_contract
from robolearn.data.importers.resample import RULES, TAKES, TOO_OLD, Rule
from robolearn.data.inferred_schema import UNKNOWN_UNIT
from robolearn.errors import UserError, nearest

OPTIONS = (
    "fps",
    "robot",
    "task",
    "task_topic",
    "clock",
    "min_frames",
    "frames",
    "verdict_topic",
    "columns",
    "continues",
)
SOURCE_OPTIONS = ("field", "names", "unit", "low", "high", "size", "dtype", "resample", "tolerance", "too_old", "take")
DTYPES = ("float32", "bool")  # of numbers
FILE = "contract.yaml"  # beside a recording: its own contract
CLOCKS = ("received", "header")


@dataclass(frozen=True)
class Source:
    """One topic's part of a channel.

    Attributes:
        topic: its name.
        field: path in the message; None means what is usual for the message's type.
        names: of the components, in order; of a message that names its joints, those of the joints wanted.
        unit: of each component, or one for all.
        low: lower bound of each component, or None.
        high: upper bound, likewise.
        size: height and width to which pictures are resized; None leaves them as they are.
        dtype: of numbers; of a channel, that of its first source.
        rule: which message a frame takes.
    """

    topic: str
    field: str | None
    names: tuple[str, ...] | None
    unit: tuple[str, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    size: tuple[int, int] | None
    dtype: str
    rule: Rule


@dataclass(frozen=True)
class BagContract:
    """What a rosbag's import needs to know.

    Attributes:
        path: the file, for messages.
        fps: frames per second.
        robot: its name.
        task: the instruction, or None.
        task_topic: the topic of strings whose first message is the instruction, or None.
        header_clock: whether a message's time is its header's stamp, else when it was received.
        min_frames: shorter episodes are left out.
        channels: places in `sources` by channel.
        sources: of all channels.
        frames: place in `sources` of the topic whose messages are the frames, or None: frames are evenly spaced.
        verdict_topic: a topic of truths, each of which says whether the episode before it was a success, or None.
        columns: texts that each episode is marked with.
    """

    path: Path
    fps: int
    robot: str
    task: str | None
    task_topic: str | None
    header_clock: bool
    min_frames: int
    channels: dict[str, tuple[int, ...]]
    sources: tuple[Source, ...]
    frames: int | None
    verdict_topic: str | None
    columns: dict[str, str]


def read_bag_contract(path: Path, *, task: str | None) -> BagContract:
    """Read a contract; `task` stands in for its instruction.

    Raises:
        UserError: naming the option that is missing or that cannot be.
    """
    given = read_contract(path, options=OPTIONS, entry="topic", entry_options=SOURCE_OPTIONS)
    if "action" not in given.channels:
        raise given.fail("`channels` lacks 'action'")
    channels: dict[str, tuple[int, ...]] = {}
    sources: list[Source] = []
    for key, entries in given.channels.items():
        channels[key] = tuple(range(len(sources), len(sources) + len(entries)))
        sources += [_source(given, key, entry) for entry in entries]
    task = task if task is not None else given.options.get("task")
    topic = None if task is not None else given.options.get("task_topic")
    if task is None and topic is None:
        raise given.fail("there is no instruction: give `task`, or `task_topic` with a topic of strings")
    clock = _one_of(given, given.options, "clock", CLOCKS)
    return BagContract(
        path=path,
        fps=given.number("fps"),
        robot=str(given.options.get("robot", "unknown")),
        task=task,
        task_topic=topic,
        header_clock=clock == "header",
        min_frames=given.number("min_frames", 2),
        channels=channels,
        sources=tuple(sources),
        frames=_frames(given, sources),
        verdict_topic=given.options.get("verdict_topic"),
        columns=_columns(given),
    )


def continued(folder: Path) -> str | None:
    """Name of the recording that goes on in this one, as the contract beside it says; None where none does.

    Raises:
        UserError: the contract is no such YAML.
    """
    if not (folder / FILE).exists():
        return None
    own = read_contract(folder / FILE, options=OPTIONS, entry="topic", entry_options=SOURCE_OPTIONS)
    name = own.options.get("continues")
    return None if name is None else str(name)


def _frames(contract: Contract, sources: Sequence[Source]) -> int | None:
    topic = contract.options.get("frames")
    if topic is None:
        return None
    topics = [source.topic for source in sources]
    if topic not in topics:
        raise contract.fail(f"`frames: {topic}` is no topic of a channel{nearest(str(topic), topics)}")
    return topics.index(topic)


def _columns(contract: Contract) -> dict[str, str]:
    columns = contract.options.get("columns", {})
    if not isinstance(columns, dict) or not all(isinstance(value, str) for value in columns.values()):
        raise contract.fail("`columns` must be a list of `name: text`")
    return {str(key): value for key, value in columns.items()}


def _source(contract: Contract, key: str, entry: Mapping[str, Any]) -> Source:
    names = _strings(contract, key, entry, "names")
    unit = entry.get("unit", UNKNOWN_UNIT)
    bounds = [_numbers(contract, key, entry, name) for name in ("low", "high")]
    size = _numbers(contract, key, entry, "size")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise contract.fail(f"`size` of channel '{key}' is {entry['size']}: give [height, width] in pixels")
    return Source(
        topic=entry["topic"],
        field=entry.get("field"),
        names=names,
        unit=(unit,) if isinstance(unit, str) else tuple(map(str, unit)),
        low=bounds[0],
        high=bounds[1],
        size=None if size is None else (int(size[0]), int(size[1])),
        dtype=_one_of(contract, entry, "dtype", DTYPES),
        rule=_rule(contract, key, entry),
    )


def _rule(contract: Contract, key: str, entry: Mapping[str, Any]) -> Rule:
    resample = _one_of(contract, entry, "resample", RULES)
    tolerance = entry.get("tolerance")
    if resample != "hold" and not (isinstance(tolerance, int | float) and tolerance > 0):
        raise contract.fail(f"channel '{key}' has `resample: {resample}`: give `tolerance` in s, e.g. 0.1")
    if resample == "hold" and tolerance is not None:
        raise contract.fail(f"`tolerance` of channel '{key}' says nothing: add `resample: asof` or `resample: drop`")
    too_old, take = _one_of(contract, entry, "too_old", TOO_OLD), _one_of(contract, entry, "take", TAKES)
    if resample != "asof" and "too_old" in entry:
        raise contract.fail(f"`too_old` of channel '{key}' says nothing: it is of `resample: asof`")
    return Rule(resample, float(tolerance or 0), too_old, take)


def _one_of(contract: Contract, options: Mapping[str, Any], name: str, valid: Sequence[str]) -> str:
    value = str(options.get(name, valid[0]))
    if value not in valid:
        raise contract.fail(f"`{name}: {value}` is unknown{nearest(value, valid)}")
    return value


def _strings(contract: Contract, key: str, entry: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = entry.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
        raise contract.fail(f"`{name}` of channel '{key}' is {value}: give a list of different names")
    return tuple(map(str, value))


def _numbers(contract: Contract, key: str, entry: Mapping[str, Any], name: str) -> tuple[float, ...] | None:
    value = entry.get(name)
    if value is None:
        return None
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in items):
        raise contract.fail(f"`{name}` of channel '{key}' is {value}: give numbers")
    return tuple(float(item) for item in items)


def spread(values: tuple[Any, ...], width: int, what: str) -> tuple[Any, ...]:
    """Return one value for each of `width` components, where one may stand for all.

    Raises:
        UserError: there is another number of them.
    """
    if len(values) not in (1, width):
        raise UserError(f"{what} has {width} components, but {len(values)} values are given: give one or {width}")
    return values * width if len(values) == 1 else values
