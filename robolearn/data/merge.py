"""Several datasets of the same schema into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from robolearn.data.copying import Selection, copy_episodes
from robolearn.data.raw import RawDataset
from robolearn.errors import UserError
from robolearn.schema import SchemaError


def merge(
    roots: Sequence[Path], out: Path, *, advance: Callable[[int], object] = lambda n: None
) -> tuple[RawDataset, ...]:
    """Write all episodes of some datasets, one dataset after the other, as a new dataset; return what was merged.

    Raises:
        UserError: the datasets differ in what must be the same, or `out` exists.
    """
    if not roots:
        raise UserError("there is nothing to merge: give datasets=[FOLDER,FOLDER]")
    sources = tuple(RawDataset.load(root) for root in roots)
    for other in sources[1:]:
        if found := list(conflicts(sources[0], other)):
            raise UserError(f"{other.root} cannot be merged with {sources[0].root}: {'; '.join(found)}")
    copy_episodes([Selection(source, range(source.num_episodes)) for source in sources], out, advance=advance)
    return sources


def conflicts(one: RawDataset, other: RawDataset) -> Iterator[str]:
    """Say in what two datasets differ that must be the same in one dataset."""
    for key in ("fps", "robot_type"):
        if one.info.get(key) != other.info.get(key):
            yield f"{key} is {other.info.get(key)}, not {one.info.get(key)}"
    yield from _compare_features(one.features, other.features)
    yield from _compare_schemas(one, other)
    if one.stage_names != other.stage_names:
        yield f"its stages are {', '.join(other.stage_names) or 'none'}, not {', '.join(one.stage_names) or 'none'}"
    sentences = [(data.own or {}).get("stage_sentences") for data in (one, other)]
    if sentences[0] != sentences[1]:
        yield "the sentences of its stages are others"
    types = [{name: data.episodes.schema.field(name).type for name in data.extras} for data in (one, other)]
    for name in dict.fromkeys([*types[0], *types[1]]):
        if types[0].get(name) != types[1].get(name):
            yield f"the episodes' column '{name}' is {types[1].get(name, 'missing')}, not {types[0].get(name, 'there')}"


def _compare_features(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*one, *other]):
        if key not in other:
            yield f"channel '{key}' is missing"
        elif key not in one:
            yield f"channel '{key}' is there in addition"
        else:
            for field in ("dtype", "shape", "names"):
                if one[key].get(field) != other[key].get(field):
                    yield f"{field} of channel '{key}' is {other[key].get(field)}, not {one[key].get(field)}"


def _compare_schemas(one: RawDataset, other: RawDataset) -> Iterator[str]:
    if (one.schema is None) != (other.schema is None):
        yield f"one of them has no units and bounds ({'this' if other.schema is None else 'the other'})"
    if one.schema is None or other.schema is None:
        return
    try:
        one.schema.require_same(other.schema, what="it")
    except SchemaError as error:
        yield str(error)
        return
    for key, feature in one.schema.features.items():
        if feature != other.schema[key]:
            yield f"channel '{key}' has other bounds or another role"
