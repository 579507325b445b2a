"""The page of a dataset: what is in it, and some of its episodes in pictures and plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

from robolearn.eval.page import IMAGE, facts, head, numbers, page, section, table
from robolearn.eval.sparklines import bars, line

BUDGET = 4_500_000  # bytes of a page, so that a browser and a mail program take it
LISTED = 2000  # episodes in the index
ROUNDING = 1e-6  # share of a value, and least change of one, that are nothing to look at
CSS = """
.chips { display: flex; flex-wrap: wrap; gap: .3rem .5rem; margin: 0 0 .7rem; padding: 0; list-style: none; }
.chips li { background: var(--soft); border-radius: 99px; padding: .1rem .7rem; font-size: .85rem; }
.chips .good { color: var(--s3); font-weight: 600; } .chips .bad { color: var(--s5); font-weight: 600; }
.film { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 2px; margin: 0 0 .5rem; }
.film div { font-size: .75rem; color: var(--muted); text-align: center; }
.film img { width: 100%; border-radius: 3px; }
.stages { display: flex; height: 1.35rem; border-radius: 4px; overflow: hidden; margin: 0 0 .7rem; }
.stages span {
  font-size: .75rem; line-height: 1.35rem; padding: 0 .3rem; overflow: hidden; white-space: nowrap;
  background: color-mix(in srgb, var(--c) 35%, var(--card)); min-width: 0;
}
.sparks { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .5rem .9rem; }
.sparks div { min-width: 0; font-size: .75rem; line-height: 1.3; }
.sparks b { font-weight: 600; } .sparks span { color: var(--muted); float: right; }
svg.spark { display: block; width: 100%; height: 2.6rem; background: var(--soft); border-radius: 3px; }
svg.spark path { fill: none; vector-effect: non-scaling-stroke; }
svg.spark .l { stroke: var(--s1); stroke-width: 1.4; stroke-linejoin: round; }
svg.spark .m { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 2 3; }
svg.spark .b { fill: var(--s1); opacity: .75; }
details { margin: .5rem 0; } details > :not(summary) { margin-top: .5rem; }
.index td, .index th { padding-top: .15rem; padding-bottom: .15rem; font-size: .85rem; }
a { color: var(--s1); }
"""


@dataclass(frozen=True)
class Plot:
    """A component of a channel in an episode: its values [T], and its range in the whole dataset."""

    name: str
    unit: str
    values: NDArray[np.floating]
    limits: tuple[float, float]

    @property
    def still(self) -> bool:
        """Whether it does not change, but for rounding."""
        size = float(np.abs(self.limits).max())
        return bool(np.ptp(self.values) <= ROUNDING * max(size, 1.0))


@dataclass(frozen=True)
class Film:
    """Pictures of an episode in the order of time, as data URIs, each with a caption."""

    name: str
    pictures: Sequence[tuple[str, str]]

    def __post_init__(self) -> None:
        for image, caption in self.pictures:
            if not IMAGE.fullmatch(image):
                raise ValueError(f"picture '{caption}' is no base64 data URI: {image[:40]!r}")


@dataclass(frozen=True)
class Stretch:
    """Part of an episode's time in one stage; `place` is the stage's number, `share` the part's share of the time."""

    name: str
    place: int
    share: float


@dataclass(frozen=True)
class EpisodeView:
    """What is shown of an episode.

    Attributes:
        number: of the episode.
        task: the instruction.
        success: whether it succeeded; None where nobody noted it.
        notes: further facts, e.g. "seed 7".
        films: one for each camera.
        stages: in the order of time; none where there are no labels.
        channels: plots by channel.
    """

    number: int
    task: str
    success: bool | None
    notes: Sequence[str]
    films: Sequence[Film] = ()
    stages: Sequence[Stretch] = ()
    channels: Mapping[str, Sequence[Plot]] = field(default_factory=dict)


@dataclass(frozen=True)
class Distribution:
    """Values whose histogram is shown."""

    name: str
    unit: str
    values: NDArray[np.floating]


@dataclass(frozen=True)
class Line:
    """A line of the index: an episode's number, length in s, success and instruction."""

    number: int
    seconds: float
    success: bool | None
    task: str


@dataclass(frozen=True)
class DatasetPage:
    """Plain data of a page; parts left empty are left out.

    Attributes:
        title: headline.
        summary: a sentence below it.
        facts: about the whole, by name.
        channels: rows of the table: channel, then dtype, shape, unit, smallest, largest.
        findings: what a check found, one sentence each.
        distributions: histograms.
        index: all episodes.
    """

    title: str
    summary: str
    facts: Mapping[str, str]
    channels: Sequence[Sequence[str]]
    findings: Sequence[str]
    distributions: Sequence[Distribution]
    index: Sequence[Line]


def to_html(data: DatasetPage, episodes: Sequence[EpisodeView], *, budget: int = BUDGET) -> tuple[str, int]:
    """Return the page, and how many episodes are on it: fewer than given where it would outgrow `budget` bytes.

    Those left out are taken evenly from all over the dataset.
    """
    drawn = {episode.number: _episode(episode) for episode in episodes}
    shown = _fitting([len(text) for text in drawn.values()], budget)
    numbers_shown = [number for i, number in enumerate(drawn) if i in shown]
    parts = (
        section("Dataset", facts(data.facts) + _channels(data.channels)),
        section("What `robolearn data check` finds", _findings(data.findings)),
        section("Distributions", _distributions(data.distributions)),
        section("Index", _index(data.index, set(numbers_shown))),
        *(drawn[number] for number in numbers_shown),
    )
    summary = f"{data.summary} {len(shown)} of {len(data.index)} episodes are shown."
    return page(data.title, "".join(parts), summary=summary, css=CSS), len(shown)


def _fitting(sizes: Sequence[int], budget: int) -> set[int]:
    """Places of as many as fit, spread evenly."""
    for count in range(len(sizes), 0, -1):
        places = set(np.linspace(0, len(sizes) - 1, count).round().astype(int).tolist())
        if sum(sizes[i] for i in places) <= budget:
            return places
    return set()


def _channels(rows: Sequence[Sequence[str]]) -> str:
    headers = ("Channel", "dtype", "shape", "unit", " smallest", " largest")
    cells = (
        f"<tr>{head(row[0])}{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:4])}{numbers(*row[4:])}</tr>"
        for row in rows
    )
    return table("channels", headers, cells)


def _findings(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="findings">{items}</ul>' if items else "<p>Nothing.</p>"


def _distributions(distributions: Sequence[Distribution]) -> str:
    cells = [
        _spark(d.name, d.unit, d.values, bars(d.values, label=f"histogram of {d.name}"))
        for d in distributions
        if len(d.values)
    ]
    return f'<div class="sparks">{"".join(cells)}</div>' if cells else ""


def _index(lines: Sequence[Line], shown: set[int]) -> str:
    rows = []
    for item in lines[:LISTED]:
        number = f'<a href="#e{item.number}">{item.number}</a>' if item.number in shown else str(item.number)
        outcome = "" if item.success is None else "success" if item.success else "failure"
        rows.append(
            f'<tr><th scope="row">{number}</th><td class="n">{item.seconds:.1f} s</td><td>{outcome}</td>'
            f"<td>{escape(item.task)}</td></tr>"
        )
    more = f"<p>and {len(lines) - LISTED} more</p>" if len(lines) > LISTED else ""
    body = table("index", ("Episode", " Length", "Outcome", "Instruction"), rows) + more
    return f"<details><summary>{len(lines)} episodes</summary>{body}</details>"


def _episode(episode: EpisodeView) -> str:
    chips = [f"<li>{escape(note)}</li>" for note in (episode.task, *episode.notes)]
    if episode.success is not None:
        name, word = ("good", "success") if episode.success else ("bad", "failure")
        chips.insert(0, f'<li class="{name}">{word}</li>')
    marks = np.cumsum([stretch.share for stretch in episode.stages])[:-1].tolist()
    body = [
        f'<ul class="chips">{"".join(chips)}</ul>',
        *map(_film, episode.films),
        _stages(episode.stages),
        *_plots(episode.channels, marks),
    ]
    return f'<section id="e{episode.number}"><h2>Episode {episode.number}</h2>{"".join(body)}</section>\n'


def _film(film: Film) -> str:
    cells = "".join(
        f'<div><img src="{image}" alt="{escape(f"{film.name} at {caption}", quote=True)}">{escape(caption)}</div>'
        for image, caption in film.pictures
    )
    return f'<div class="film" title="{escape(film.name, quote=True)}">{cells}</div>'


def _stages(stages: Sequence[Stretch]) -> str:
    spans = "".join(
        f'<span style="flex:{s.share:.4f};--c:var(--s{s.place % 6 + 1})" title="{escape(s.name, quote=True)}">'
        f"{escape(s.name)}</span>"
        for s in stages
    )
    return f'<div class="stages">{spans}</div>' if spans else ""


def _plots(channels: Mapping[str, Sequence[Plot]], marks: Sequence[float]) -> Iterator[str]:
    for key, plots in channels.items():
        cells = "".join(_plot(p, marks) for p in plots if not p.still)
        still = ", ".join(f"{p.name} {_value(p.values[0], p.unit)}" for p in plots if p.still)
        grid = f'<div class="sparks">{cells}</div>' if cells else ""
        note = f'<p class="note">Does not change: {escape(still)}</p>' if still else ""
        yield f"<details open><summary>{escape(key)}</summary>{grid}{note}</details>"


def _plot(plot: Plot, marks: Sequence[float]) -> str:
    drawing = line(plot.values, limits=plot.limits, label=f"{plot.name} over time", marks=marks)
    return _spark(plot.name, plot.unit, plot.values, drawing)


def _spark(name: str, unit: str, values: NDArray[np.floating], drawing: str) -> str:
    extent = f"{np.min(values):.3g} to {_value(np.max(values), unit)}"
    return f"<div><b>{escape(name)}</b> <span>{escape(extent)}</span>{drawing}</div>"


def _value(value: float, unit: str) -> str:
    text = f"{value + 0.0:.3g}"  # no -0
    return text if unit in ("1", "unknown") else f"{text} {unit}"
