"""Look for faults in a LeRobot v3 dataset, also in one that nothing else can open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from robolearn.data import layout
from robolearn.data.check_frames import check_timeline, read_frames
from robolearn.data.check_pictures import check_pictures
from robolearn.data.check_values import check_values
from robolearn.data.findings import COPY_ANEW, DAMAGE, Finding, Limits, first_line
from robolearn.data.raw import RawDataset, read_own
from robolearn.data.reading import episode_files, read_info, read_instructions
from robolearn.errors import UserError
from robolearn.schema import Schema, SchemaError


def check_dataset(root: Path, limits: Limits | None = None) -> list[Finding]:
    """Return everything that is wrong with a dataset, or worth a look.

    Args:
        root: the dataset's folder; its metadata and files may be damaged.
        limits: from where on something is a finding.

    Raises:
        UserError: there is no folder, or no readable `info.json` of a v3 dataset in it.
    """
    limits = limits or Limits()
    findings: list[Finding] = []
    raw = _load(Path(root), findings)
    findings += _check_metadata(raw)
    frames, faults = read_frames(raw)
    findings += faults
    findings += check_timeline(raw, frames, limits)
    findings += check_values(raw, frames, limits)
    findings += check_pictures(raw)
    return findings


def _load(root: Path, findings: list[Finding]) -> RawDataset:
    """Read what can be read of the metadata; the rest becomes findings."""
    try:
        info = read_info(root)
    except ValueError as error:
        raise UserError(f"{root / layout.INFO} is no JSON ({first_line(error)}): copy it anew") from error
    own = None
    try:
        own = read_own(root)
        if own is not None:
            Schema.from_dict(own)
    except (SchemaError, KeyError, TypeError, *DAMAGE) as error:
        own = None
        findings.append(Finding(f"{layout.OWN_SCHEMA} cannot be read ({first_line(error)})", COPY_ANEW))
    tables = []
    for file in episode_files(root):
        try:
            tables.append(pq.read_table(file))
        except DAMAGE as error:
            what = f"{file.relative_to(root)} cannot be read ({first_line(error)})"
            findings.append(Finding(what, f"{COPY_ANEW}: the episodes listed there are unknown until then"))
    tasks: tuple[str, ...] = ()
    try:
        tasks = read_instructions(root)
    except (UserError, KeyError, *DAMAGE) as error:
        what = f"{layout.TASKS} cannot be read ({first_line(error)})"
        findings.append(Finding(what, f"{COPY_ANEW}: the instructions are unknown until then"))
    episodes = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({"episode_index": []})
    if not len(episodes):
        findings.append(Finding("the metadata lists no episode", "collect some, or copy meta/episodes anew"))
    return RawDataset(root, info, own, episodes.sort_by("episode_index"), tasks)


def _check_metadata(raw: RawDataset) -> Iterator[Finding]:
    yield from _check_totals(raw)
    yield from _check_order(raw)
    yield from _check_schema(raw)
    known = set(raw.tasks)
    for row in raw.rows if raw.tasks else ():
        if unknown := [task for task in row.get("tasks") or [] if task not in known]:
            advice = f"copy {layout.TASKS} anew"
            yield Finding(f"its instruction '{unknown[0]}' is not in {layout.TASKS}", advice, row["episode_index"])
    for file in sorted(raw.root.rglob(".*.tmp")):
        what = f"{file.relative_to(raw.root)} is what a killed writer left"
        yield Finding(what, "run the collection again to go on, or delete the file", hint=True)


def _check_totals(raw: RawDataset) -> Iterator[Finding]:
    frames = sum(int(row.get("length") or 0) for row in raw.rows)
    counts = {"total_episodes": raw.num_episodes, "total_frames": frames, "total_tasks": len(raw.tasks)}
    for key, count in counts.items():
        if raw.info.get(key) != count:
            what = f"info.json says {key}={raw.info.get(key)}, the metadata lists {count}"
            yield Finding(what, "write it anew with `robolearn data merge`")


def _check_order(raw: RawDataset) -> Iterator[Finding]:
    """Episodes are numbered from 0 on, and each begins where the one before it ends."""
    end = 0
    for place, row in enumerate(raw.rows):
        episode, advice = row["episode_index"], "copy meta/episodes anew"
        if episode != place:
            yield Finding(f"it stands at place {place} of the metadata: episodes are missing or twice there", advice)
            return
        first, last, length = (row.get(key) for key in ("dataset_from_index", "dataset_to_index", "length"))
        if first is None or last is None or length is None:
            yield Finding("its metadata does not say which frames are its own", advice, episode)
            continue
        if first != end:
            what = f"it begins at frame {first} of the dataset, the one before it ends at {end}"
            yield Finding(what, advice, episode)
        if last - first != length:
            yield Finding(f"its metadata says length {length}, but frames {first} to {last}", advice, episode)
        end = last


def _check_schema(raw: RawDataset) -> Iterator[Finding]:
    if "action" not in raw.features:
        yield Finding("there is no channel 'action'", "only action-labelled datasets can be used", channel="action")
    if raw.schema is None:
        return
    for key, feature in raw.schema.features.items():
        theirs = raw.features.get(key)
        if theirs is None:
            yield Finding(f"{layout.OWN_SCHEMA} has it, info.json has not", COPY_ANEW, channel=key)
        elif tuple(theirs["shape"]) != feature.shape:
            what = f"its shape is {feature.shape} in {layout.OWN_SCHEMA}, but {tuple(theirs['shape'])} in info.json"
            yield Finding(what, COPY_ANEW, channel=key)
    if raw.schema.fps != raw.info["fps"]:
        yield Finding(f"fps is {raw.schema.fps} in {layout.OWN_SCHEMA}, {raw.info['fps']} in info.json", COPY_ANEW)
