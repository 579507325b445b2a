"""Charts as PNG files, for documents and run folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robolearn.data.files import replacing
from robolearn.eval.charts import Chart, Series, compact

SIZE, DPI = (5.2, 3.4), 110  # inches of one chart
SMALL, LEGEND = (3.6, 2.4), 0.4  # inches of one of many, and of their legend
COLOURS = ("#2563a8", "#c2571a", "#2f8f5b", "#8a4fa3", "#b3372f", "#4d5a66")


def save_charts(path: Path, charts: Sequence[Chart]) -> None:
    """Draw charts side by side into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE[0] * len(charts), SIZE[1]), layout="constrained")
    for axes, chart in zip(figure.subplots(1, len(charts), squeeze=False)[0], charts, strict=True):
        _draw(axes, chart, COLOURS)
        axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)


def save_grid(path: Path, charts: Sequence[Chart], *, columns: int) -> None:
    """Draw many small charts into a PNG file, `columns` in a row; lines of one label share a colour and one legend."""
    from matplotlib.figure import Figure

    columns = min(columns, len(charts))
    rows = -(-len(charts) // columns)
    figure = Figure(figsize=(SMALL[0] * columns, SMALL[1] * rows + LEGEND), layout="constrained")
    labels = list(dict.fromkeys(series.label for chart in charts for series in chart.series))
    shades = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    lines: dict[str, Any] = {}
    for axes, chart in zip(panels, charts, strict=False):
        _draw(axes, chart, [shades[series.label] for series in chart.series])
        lines |= {line.get_label(): line for line in axes.lines}
    for axes in panels[len(charts) :]:
        axes.set_axis_off()
    handles = [lines[label] for label in labels]
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)


def _draw(axes: Any, chart: Chart, shades: Sequence[str]) -> None:
    """Draw a chart's lines, each in its shade; the shades start again where there are more lines."""
    for i, series in enumerate(chart.series):
        shade = shades[i % len(shades)]
        axes.plot(series.x, series.y, color=shade, linewidth=1.8, label=series.label)
        if series.low is not None and series.high is not None:
            axes.fill_between(series.x, series.low, series.high, color=shade, alpha=0.18, linewidth=0)
    axes.set(title=chart.title, xlabel=chart.xlabel, ylabel=chart.ylabel)
    axes.xaxis.set_major_formatter(compact)
    if chart.ylim is not None:
        axes.set_ylim(*chart.ylim)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def save_curve(path: Path, curve: Sequence[dict[str, float]]) -> None:
    """Draw the success rate of a learning curve and, where it has one, the level of privilege over control steps."""
    steps = [point["steps"] for point in curve]
    keys = [key for key in ("success", "level") if any(point.get(key) for point in curve)] or ["success"]
    series = [Series(key, steps, [point[key] for point in curve]) for key in keys]
    save_charts(path, [Chart("success without privilege", "control steps", "rate", series, ylim=(0.0, 1.02))])


@dataclass(frozen=True)
class Bar:
    """A value and its interval [low, high]; `label` is what it is of."""

    label: str
    value: float
    low: float
    high: float


def save_bars(
    path: Path, groups: Mapping[str, Sequence[Bar]], *, order: Sequence[str], ylabel: str, ylim: tuple[float, float]
) -> None:
    """Draw groups of bars with their intervals into a PNG file.

    Args:
        path: the file.
        groups: bars by the group's name; a group may lack some.
        order: labels of the bars, which keep place and colour in every group.
        ylabel: of the values.
        ylim: their range.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.2 + 1.9 * len(groups), SIZE[1]), layout="constrained")
    axes = figure.subplots()
    width = 0.84 / len(order)
    for k, label in enumerate(order):
        found = [(i, bar) for i, bars in enumerate(groups.values()) for bar in bars if bar.label == label]
        places = [i + (k - (len(order) - 1) / 2) * width for i, _ in found]
        errors = [[b.value - b.low for _, b in found], [b.high - b.value for _, b in found]]
        axes.bar(
            places,
            [bar.value for _, bar in found],
            0.92 * width,
            yerr=errors,
            label=label,
            color=COLOURS[k % len(COLOURS)],
            error_kw={"elinewidth": 0.9, "capsize": 2, "ecolor": "#333333"},
        )
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set(ylabel=ylabel, ylim=ylim)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(order), frameon=False, fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
