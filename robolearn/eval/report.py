"""A report that is one file: HTML with everything inside, no network, no script, readable on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.eval.charts import Chart, Histogram, colour, draw_chart, draw_histogram
from robolearn.eval.metrics import SuccessRate, percentiles
from robolearn.eval.results import replace_text
from robolearn.eval.style import CSS

if TYPE_CHECKING:
    from rich.console import Console

IMAGE = re.compile(r"data:image/(png|jpeg|svg\+xml);base64,[A-Za-z0-9+/=]+")
# nothing is fetched and nothing runs, whatever a name or a configuration contains
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
        _section("Success", _success(report)),
        _section("Learning curves", _charts([chart for chart in report.charts if chart.series])),
        _section("Episodes", "".join(map(_strip, report.strips))),
        _section(
            "Real-time behaviour", _loops(report.loops) + _histograms([h for h in report.histograms if len(h.values)])
        ),
        _section("Wall time", _durations(report.durations)),
        _section("Environment", _facts(report.environment)),
        _configuration(report.configuration),
    )
    title = escape(report.title)
    summary = f"<p>{escape(report.summary)}</p>" if report.summary else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{title}</h1>{summary}</header>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


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


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n" if body else ""


def _table(kind: str, headers: Sequence[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col"{_align(h)}>{escape(h.strip())}</th>' for h in headers)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _align(header: str) -> str:
    """Headers that begin with a space stand over numbers, at the right."""
    return ' class="n"' if header.startswith(" ") else ""


def _numbers(*values: str) -> str:
    return "".join(f'<td class="n">{escape(value)}</td>' for value in values)


def _head(name: str, note: str = "") -> str:
    below = f'<span class="note">{escape(note)}</span>' if note else ""
    return f'<th scope="row">{escape(name)}{below}</th>'


def _success(report: Report) -> str:
    findings = "".join(f"<li>{escape(sentence)}</li>" for sentence in report.findings)
    listed = f'<ul class="findings">{findings}</ul>' if findings else ""
    if not report.rows:
        return listed
    headers = ("Policy", "0 to 1, with 95 % interval", " Rate", " 95 % interval", " Episodes")
    return _table("success", headers, map(_success_row, report.rows)) + listed


def _success_row(row: Row) -> str:
    rate, (low, high) = row.success.rate, row.success.interval
    plot = (
        f'<div class="range" aria-hidden="true"><i style="left:{low:.2%};width:{high - low:.2%}"></i>'
        f'<b style="left:{rate:.2%}"></b></div>'
    )
    numbers = _numbers(f"{rate:.2f}", f"{low:.2f} to {high:.2f}", f"{row.success.successes}/{row.success.episodes}")
    return f'<tr>{_head(row.name, row.note)}<td class="plot">{plot}</td>{numbers}</tr>'


def _figure(title: str, body: str, note: str) -> str:
    below = f"<figcaption>{escape(note)}</figcaption>" if note else ""
    return f"<figure><h3>{escape(title)}</h3>{body}{below}</figure>"


def _charts(charts: Sequence[Chart]) -> str:
    drawn = []
    for i, chart in enumerate(charts):
        names = "".join(f'<li style="--c:{colour(k)}">{escape(s.label)}</li>' for k, s in enumerate(chart.series))
        body = f'<ul class="legend">{names}</ul>{draw_chart(chart, key=f"c{i}")}'
        drawn.append(_figure(chart.title, body, chart.note))
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _histograms(histograms: Sequence[Histogram]) -> str:
    drawn = []
    for i, histogram in enumerate(histograms):
        levels = percentiles(histogram.values, (50, 99, 100))
        figures = f"{len(histogram.values)} values: median {levels['p50']:.3g}, 99 % below {levels['p99']:.3g}, "
        note = f"{figures}largest {levels['p100']:.3g}. {histogram.note}".strip()
        drawn.append(_figure(histogram.title, draw_histogram(histogram, key=f"h{i}"), note))
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _loops(loops: Sequence[LoopStatistics]) -> str:
    if not loops:
        return ""
    headers = ("Loop", " Period", " Cycles", " Lateness p50", " p99", " max", " Missed")
    rows = (
        f"<tr>{_head(loop.name)}"
        + _numbers(f"{loop.period_ms:g} ms", str(loop.cycles), f"{loop.p50_ms:.2f} ms", f"{loop.p99_ms:.2f} ms")
        + _numbers(f"{loop.max_ms:.2f} ms", str(loop.missed))
        + "</tr>"
        for loop in loops
    )
    return _table("loops", headers, rows)


def _strip(strip: Strip) -> str:
    caption = escape(strip.caption)
    picture = f'<div class="scroll"><img src="{strip.image}" alt="{caption}"></div>'
    return f'<figure class="strip">{picture}<figcaption>{caption}</figcaption></figure>'


def _durations(durations: Sequence[Duration]) -> str:
    if not durations:
        return ""
    longest, total = max(d.seconds for d in durations), sum(d.seconds for d in durations)
    rows = [
        f'<tr>{_head(d.name, d.note)}<td class="plot"><div class="bar" style="width:{d.seconds / (longest or 1):.2%}">'
        f"</div></td>{_numbers(clock(d.seconds))}</tr>"
        for d in durations
    ]
    rows.append(f'<tr class="total">{_head("total")}<td></td>{_numbers(clock(total))}</tr>')
    return _table("durations", ("Step", "", " Time"), rows)


def clock(seconds: float) -> str:
    """Wall time for people: 4.2 s, 3 min 05 s, 2 h 07 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _facts(facts: Mapping[str, str]) -> str:
    items = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    return f"<dl>{items}</dl>" if items else ""


def _configuration(yaml: str) -> str:
    if not yaml:
        return ""
    return f"<section><details><summary>Resolved configuration</summary><pre>{escape(yaml)}</pre></details></section>\n"
