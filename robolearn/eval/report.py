"""A report that is one file: HTML with everything inside, no network, no script, readable on a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.eval.charts import Chart, Histogram, colour, draw_chart, draw_histogram
from robolearn.eval.metrics import SuccessRate, percentiles
from robolearn.eval.page import IMAGE, facts, figure, head, numbers, page, section, table
from robolearn.eval.results import replace_text

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Row:
    """One line of the success table."""

    name: str
    success: SuccessRate
    note: str = ""


@dataclass(frozen=True)
class Duration:
    """Wall time of one step of the run, in s."""

    name: str
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class LoopStatistics:
    """How punctual a control loop was: lateness against its absolute deadlines in ms, and periods missed."""

    name: str
    cycles: int
    period_ms: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    missed: int


@dataclass(frozen=True)
class Strip:
    """A picture, as a data URI (e.g. from `robolearn.sim.pictures.png_data_uri`), and what it shows."""

    image: str
    caption: str

    def __post_init__(self) -> None:
        if not IMAGE.fullmatch(self.image):
            raise ValueError(f"picture '{self.caption}' is no base64 data URI: {self.image[:40]!r}")


@dataclass(frozen=True)
class Report:
    """Plain data of a report; parts left empty are left out.

    Attributes:
        title: headline.
        summary: a sentence or two below it.
        rows: success of each policy.
        findings: sentences below the table, e.g. comparisons.
        charts: learning curves.
        strips: episodes in pictures.
        histograms: e.g. command latency.
        loops: punctuality of control loops.
        durations: wall time of each step.
        environment: facts by name: machine, commit, seeds, command.
        configuration: resolved YAML.
    """

    title: str
    summary: str = ""
    rows: Sequence[Row] = ()
    findings: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    strips: Sequence[Strip] = ()
    histograms: Sequence[Histogram] = ()
    loops: Sequence[LoopStatistics] = ()
    durations: Sequence[Duration] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    configuration: str = ""


def write_report(path: Path, report: Report) -> None:
    """Write the report as one HTML file; folders are made, an older file is replaced in one go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, to_html(report))


def to_html(report: Report) -> str:
    """Return the whole page."""
    parts = (
        section("Success", _success(report)),
        section("Learning curves", _charts([chart for chart in report.charts if chart.series])),
        section("Episodes", "".join(map(_strip, report.strips))),
        section(
            "Real-time behaviour", _loops(report.loops) + _histograms([h for h in report.histograms if len(h.values)])
        ),
        section("Wall time", _durations(report.durations)),
        section("Environment", facts(report.environment)),
        _configuration(report.configuration),
    )
    return page(report.title, "".join(parts), summary=report.summary)


def print_table(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print the success table in the terminal."""
    from rich.console import Console as DefaultConsole
    from rich.table import Table
    from rich.text import Text

    table = Table(caption="success rate with 95 % Wilson interval")
    for header, align in (("policy", "left"), ("successes", "right"), ("rate", "right"), ("95 % interval", "right")):
        table.add_column(header, justify="right" if align == "right" else "left")
    noted = any(row.note for row in rows)
    if noted:
        table.add_column("note")
    for row in rows:
        low, high = row.success.interval
        counts = f"{row.success.successes}/{row.success.episodes}"
        cells = [
            row.name,
            counts,
            f"{row.success.rate:.2f}",
            f"{low:.2f} to {high:.2f}",
            *([row.note] if noted else []),
        ]
        table.add_row(*map(Text, cells))  # Text: brackets in names are no markup
    (console or DefaultConsole()).print(table)


def _success(report: Report) -> str:
    findings = "".join(f"<li>{escape(sentence)}</li>" for sentence in report.findings)
    listed = f'<ul class="findings">{findings}</ul>' if findings else ""
    if not report.rows:
        return listed
    headers = ("Policy", "0 to 1, with 95 % interval", " Rate", " 95 % interval", " Episodes")
    return table("success", headers, map(_success_row, report.rows)) + listed


def _success_row(row: Row) -> str:
    rate, (low, high) = row.success.rate, row.success.interval
    plot = (
        f'<div class="range" aria-hidden="true"><i style="left:{low:.2%};width:{high - low:.2%}"></i>'
        f'<b style="left:{rate:.2%}"></b></div>'
    )
    cells = numbers(f"{rate:.2f}", f"{low:.2f} to {high:.2f}", f"{row.success.successes}/{row.success.episodes}")
    return f'<tr>{head(row.name, row.note)}<td class="plot">{plot}</td>{cells}</tr>'


def _charts(charts: Sequence[Chart]) -> str:
    drawn = []
    for i, chart in enumerate(charts):
        names = "".join(f'<li style="--c:{colour(k)}">{escape(s.label)}</li>' for k, s in enumerate(chart.series))
        body = f'<ul class="legend">{names}</ul>{draw_chart(chart, key=f"c{i}")}'
        drawn.append(figure(chart.title, body, chart.note))
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _histograms(histograms: Sequence[Histogram]) -> str:
    drawn = []
    for i, histogram in enumerate(histograms):
        levels = percentiles(histogram.values, (50, 99, 100))
        figures = f"{len(histogram.values)} values: median {levels['p50']:.3g}, 99 % below {levels['p99']:.3g}, "
        note = f"{figures}largest {levels['p100']:.3g}. {histogram.note}".strip()
        drawn.append(figure(histogram.title, draw_histogram(histogram, key=f"h{i}"), note))
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _loops(loops: Sequence[LoopStatistics]) -> str:
    if not loops:
        return ""
    headers = ("Loop", " Period", " Cycles", " Lateness p50", " p99", " max", " Missed")
    rows = (
        f"<tr>{head(loop.name)}"
        + numbers(f"{loop.period_ms:g} ms", str(loop.cycles), f"{loop.p50_ms:.2f} ms", f"{loop.p99_ms:.2f} ms")
        + numbers(f"{loop.max_ms:.2f} ms", str(loop.missed))
        + "</tr>"
        for loop in loops
    )
    return table("loops", headers, rows)


def _strip(strip: Strip) -> str:
    caption = escape(strip.caption)
    picture = f'<div class="scroll"><img src="{strip.image}" alt="{caption}"></div>'
    return f'<figure class="strip">{picture}<figcaption>{caption}</figcaption></figure>'


def _durations(durations: Sequence[Duration]) -> str:
    if not durations:
        return ""
    longest, total = max(d.seconds for d in durations), sum(d.seconds for d in durations)
    rows = [
        f'<tr>{head(d.name, d.note)}<td class="plot"><div class="bar" style="width:{d.seconds / (longest or 1):.2%}">'
        f"</div></td>{numbers(clock(d.seconds))}</tr>"
        for d in durations
    ]
    rows.append(f'<tr class="total">{head("total")}<td></td>{numbers(clock(total))}</tr>')
    return table("durations", ("Step", "", " Time"), rows)


def clock(seconds: float) -> str:
    """Wall time for people: 4.2 s, 3 min 05 s, 2 h 07 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _configuration(yaml: str) -> str:
    if not yaml:
        return ""
    return f"<section><details><summary>Resolved configuration</summary><pre>{escape(yaml)}</pre></details></section>\n"
