"""Charts as inline SVG that takes its colours and fonts from the page, so that light and dark both work."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from robolearn.eval.metrics import percentiles

# matplotlib wants colours: these stand for the page's variables and are replaced in the SVG
STAND_INS = {"#010101": "--ink", "#020202": "--muted", "#030303": "--line"} | {
    f"#04040{i}": f"--s{i}" for i in range(1, 7)
}
INK, MUTED, LINE, *SERIES = STAND_INS
SIZE = (5.4, 2.9)  # inches at 72 points: readable unscaled on a phone
RC: Any = {
    "font.size": 10,
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": MUTED,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        label: its name in the legend.
        x, y: [n] each.
        low, high: [n] each, a band around the line, or None.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"series '{self.label}' has one side of a band only")
        lengths = {len(part) for part in (self.x, self.y, self.low, self.high) if part is not None}
        if len(lengths) != 1:
            raise ValueError(f"series '{self.label}' has parts of different lengths: {sorted(lengths)}")


@dataclass(frozen=True)
class Chart:
    """Lines over a common x axis, e.g. learning curves; `ylim` fixes the y axis, e.g. (0, 1) for success rates."""

    title: str
    xlabel: str
    ylabel: str
    series: Sequence[Series]
    note: str = ""
    ylim: tuple[float, float] | None = None


@dataclass(frozen=True)
class Histogram:
    """Distribution of a quantity, e.g. command latency in ms; `limit` draws what it should stay below."""

    title: str
    xlabel: str
    values: Sequence[float]
    note: str = ""
    limit: float | None = None


def colour(i: int) -> str:
    """CSS variable of the i-th series; the palette starts again after six."""
    return f"var({STAND_INS[SERIES[i % len(SERIES)]]})"


def draw_chart(chart: Chart, *, key: str) -> str:
    """Return the SVG of a line chart; `key` makes its ids unique in the page."""
    figure, axes = _figure()
    for i, series in enumerate(chart.series):
        shade = SERIES[i % len(SERIES)]
        marker = "o" if len(series.x) <= 12 else ""
        # dashes tell lines apart once the colours repeat
        dashes = ("-", "--", ":")[i // len(SERIES) % 3]
        axes.plot(series.x, series.y, dashes, color=shade, linewidth=1.6, marker=marker, markersize=3.5, clip_on=False)
        if series.low is not None and series.high is not None:
            axes.fill_between(series.x, series.low, series.high, color=shade, alpha=0.16, linewidth=0)
    axes.set_xlabel(chart.xlabel)
    axes.set_ylabel(chart.ylabel)
    axes.xaxis.set_major_formatter(compact)
    if chart.ylim is not None:
        axes.set_ylim(*chart.ylim)
    return _svg(figure, key=key, title=chart.title)


def draw_histogram(histogram: Histogram, *, key: str) -> str:
    """Return the SVG of a histogram with its median and 99th percentile; counts are logarithmic, for the tail."""
    figure, axes = _figure()
    axes.hist(histogram.values, bins=48, color=SERIES[0], alpha=0.75, linewidth=0)
    marks = [(value, name, INK, "-") for name, value in percentiles(histogram.values).items()]
    if histogram.limit is not None:
        marks.append((histogram.limit, "limit", SERIES[1], "--"))
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.yaxis.set_major_formatter(compact)
    axes.yaxis.set_minor_formatter("")
    for level, (value, name, shade, dashes) in enumerate(marks):
        # one height each, so that the names of marks close to each other stay readable
        top = 1.02 + 0.075 * (len(marks) - 1 - level)
        axes.axvline(value, ymax=top + 0.05, color=shade, linewidth=1, linestyle=dashes, clip_on=False)
        text = f"{name} {value:.3g}"
        where = {"xycoords": ("data", "axes fraction"), "xytext": (3, 0), "textcoords": "offset points"}
        axes.annotate(text, (value, top), color=shade, annotation_clip=False, **where)
    axes.set_xlabel(histogram.xlabel)
    axes.set_ylabel("count")
    return _svg(figure, key=key, title=histogram.title)


def _figure() -> tuple[Any, Any]:
    # matplotlib takes a second to import: only where a chart is drawn. No pyplot: no display, no global state
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(RC):
        figure = Figure(figsize=SIZE)
        return figure, figure.subplots()


def compact(value: float, _: int) -> str:
    """Write a tick's value shortly, e.g. 1.5M; matplotlib also gives the tick's place."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _svg(figure: Any, *, key: str, title: str) -> str:
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({**RC, "svg.hashsalt": key}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text)
    text = re.sub(r"font: (?:[\w-]+ )*?([\d.]+px) [^;\"]*", r"font-size: \1", text)
    text = re.sub(r"font-family: [^;\"]*;?", "", text)
    for stand_in, variable in STAND_INS.items():
        text = text.replace(stand_in, f"var({variable})")
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{key}-", text)
    label = escape(title, quote=True)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}" style="stroke-linejoin: round"', 1)
