"""The HTML page of a dataset: reads it, draws film strips, writes the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.commands.common import progress
from robolearn.errors import UserError
from robolearn.eval.dataset_page import DatasetPage, Distribution, EpisodeView, Film, Line, Plot, Stretch, to_html
from robolearn.eval.results import replace_text

if TYPE_CHECKING:
    from robolearn.data.dataset import EpisodeDataset
    from robolearn.data.describe import Description
    from robolearn.data.raw import RawDataset

FRAMES = 8  # of a film strip
THUMBNAIL = 128  # pixels of a picture's larger side
JPEG_QUALITY = 80
LISTED_FINDINGS = 30


def write_page(root: Path, out: Path, *, episodes: int, only: Sequence[int] | None = None, strips: bool = True) -> int:
    """Write the page of a dataset, and return how many episodes are on it.

    Args:
        root: the dataset's folder.
        out: the page.
        episodes: how many are shown, spread evenly over the dataset.
        only: numbers of those to show instead.
        strips: draw film strips.

    Raises:
        UserError: the dataset cannot be read, or has no such episode.
    """
    from robolearn.data.check import check_dataset
    from robolearn.data.dataset import EpisodeDataset
    from robolearn.data.describe import describe
    from robolearn.data.raw import RawDataset

    data, raw = EpisodeDataset.load(root), RawDataset.load(root)
    chosen = choose(data.num_episodes, episodes, only)
    findings = [str(finding) for finding in check_dataset(root)]
    more = len(findings) - LISTED_FINDINGS
    if more > 0:
        findings[LISTED_FINDINGS:] = [f"and {more} more"]
    films = _films(raw, chosen) if strips else iter([()] * len(chosen))
    views = []
    with progress("draw", len(chosen)) as advance:
        for number in chosen:
            views.append(_view(data, number, next(films)))
            advance(1)
    html, shown = to_html(_page(data, describe(raw), findings), views)
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_text(out, html)
    return shown


def choose(count: int, wanted: int, only: Sequence[int] | None) -> list[int]:
    """Numbers of the episodes to show.

    Raises:
        UserError: there is no such episode.
    """
    if only is not None:
        if not only or not all(0 <= number < count for number in only):
            raise UserError(f"only={list(only)}: the dataset has the episodes 0-{count - 1}")
        return sorted(set(only))
    return sorted(set(np.linspace(0, count - 1, min(wanted, count)).round().astype(int).tolist()))


def _page(data: EpisodeDataset, found: Description, findings: Sequence[str]) -> DatasetPage:
    seconds = np.array(found.lengths) / found.fps
    action = data.schema.action
    distributions = [Distribution("length of the episodes", "s", seconds)]
    distributions += [
        Distribution(f"action: {name}", unit, data.channels["action"][:, i])
        for i, (name, unit) in enumerate(zip(action.names, action.unit, strict=True))
    ]
    success = data.columns.get("success", [None] * data.num_episodes)
    return DatasetPage(
        title=data.root.name,
        summary=f"{data.num_episodes} episodes of {found.robot}, {data.num_frames} frames.",
        facts=found.facts(),
        channels=[channel.cells() for channel in found.channels],
        findings=findings,
        distributions=distributions,
        index=[Line(i, float(seconds[i]), success[i], data.tasks[i]) for i in range(data.num_episodes)],
    )


def _view(data: EpisodeDataset, number: int, films: Sequence[Film]) -> EpisodeView:
    channels = data.episode(number)
    length = int(data.ends[number] - data.starts[number])
    values = {key: column[number] for key, column in data.columns.items() if _is_fact(key, column[number])}
    success = values.pop("success", None)
    labels = channels.pop("observation.stage", None)
    shown = {key: v for key, v in channels.items() if key in (*data.schema.observation_keys, "action")}
    return EpisodeView(
        number=number,
        task=data.tasks[number],
        success=success,
        notes=[f"{length / data.schema.fps:.1f} s", *(f"{key} {value}" for key, value in values.items())],
        films=films,
        stages=[] if labels is None else stretches(labels[:, 0].astype(int), data.stage_names),
        channels={key: _plots(data, key, values) for key, values in shown.items()},
    )


def _is_fact(key: str, value: Any) -> bool:
    return key != "episode_index" and isinstance(value, bool | int | float | str) and value != ""


def _plots(data: EpisodeDataset, key: str, values: NDArray[np.float32]) -> list[Plot]:
    feature, everywhere = data.schema[key], data.channels[key]
    low, high = everywhere.min(axis=0), everywhere.max(axis=0)
    return [
        Plot(name, unit, values[:, i], (float(low[i]), float(high[i])))
        for i, (name, unit) in enumerate(zip(feature.names, feature.unit, strict=True))
    ]


def stretches(labels: NDArray[np.integer], names: Sequence[str]) -> list[Stretch]:
    """Cut an episode where its stage changes.

    Args:
        labels: [T] number of the stage, `len(names)` where all are done.
        names: of the stages.
    """
    known = (*names, "done")
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    return [
        Stretch(known[min(labels[a], len(names))], int(labels[a]), (b - a) / len(labels)) for a, b in pairwise(edges)
    ]


def _films(raw: RawDataset, chosen: Sequence[int]) -> Iterator[list[Film]]:
    """Film strips of each episode, from its pictures, or from the simulator where it has none."""
    from robolearn.data.raw import is_picture

    keys = [key for key, feature in raw.features.items() if is_picture(feature)]
    return _from_pictures(raw, keys, chosen) if keys else _from_simulator(raw, chosen)


def _from_pictures(raw: RawDataset, keys: Sequence[str], chosen: Sequence[int]) -> Iterator[list[Film]]:
    from robolearn.data.image_sources import find_source
    from robolearn.data.inferred_schema import infer_schema
    from robolearn.data.reading import read_episodes

    schema = raw.schema or infer_schema(raw.info["features"], fps=raw.fps)
    episodes = read_episodes(raw.root)
    sources = {
        key: find_source(raw.root, key, schema[key], info=raw.info, episodes=episodes)
        for key in keys
        if schema[key].shape[-1] == 3
    }
    for number in chosen:
        row = raw.rows[number]
        start, stop = row["dataset_from_index"], row["dataset_to_index"]
        times = moments(stop - start)
        films = []
        for key, source in sources.items():
            # what is stored is passed on in turn, and decoded to pixels only where it is shown
            found = [source.read(item) for t, item in enumerate(source.items(start, stop)) if t in times]
            pictures = [
                (jpeg(picture), f"{t / raw.fps:.1f} s") for t, picture in zip(sorted(times), found, strict=True)
            ]
            films.append(Film(key.removeprefix("observation.images."), pictures))
        yield films


def _from_simulator(raw: RawDataset, chosen: Sequence[int]) -> Iterator[list[Film]]:
    from robolearn.commands.data_replay import Replayed

    replayed = Replayed.of(raw)
    for number in chosen:
        frames = [] if replayed is None else replayed.draw(number, moments(raw.rows[number]["length"]))
        yield [_film("simulated again", frames, raw.fps)] if frames else []


def _film(name: str, frames: Sequence[tuple[int, NDArray[np.uint8]]], fps: int) -> Film:
    return Film(name, [(jpeg(picture), f"{t / fps:.1f} s") for t, picture in frames])


def moments(length: int) -> set[int]:
    """Frames of an episode that its film strip shows, the first and the last among them."""
    return set(np.linspace(0, length - 1, min(FRAMES, length)).round().astype(int).tolist())


def jpeg(picture: NDArray[np.uint8]) -> str:
    """Return a small copy of a picture [height, width, 3] as a data URI."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
