import io
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from robolearn.eval.charts import Chart, Histogram, Series, draw_chart, draw_histogram
from robolearn.eval.metrics import SuccessRate
from robolearn.eval.report import (
    Duration,
    LoopStatistics,
    Report,
    Row,
    Strip,
    clock,
    print_table,
    to_html,
    write_report,
)

PIXEL = "data:image/png;base64,iVBORw0KGgo="
EVIL = "<script>alert('x')</script> & \"quoted\" $x_1$"
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags close in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], Counter(), [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


def full(text="x"):
    line = Series(text, [0, 1, 2], [0.1, 0.5, 0.9], [0.0, 0.4, 0.8], [0.2, 0.6, 1.0])
    return Report(
        title=text,
        summary=text,
        rows=[Row(text, SuccessRate(87, 100), text), Row("other", SuccessRate(0, 20))],
        findings=[text],
        charts=[Chart(text, text, text, [line], note=text, ylim=(0, 1)), Chart("second", "x", "y", [line, line])],
        strips=[Strip(PIXEL, text)],
        histograms=[Histogram(text, text, np.linspace(0.1, 4, 200), note=text, limit=3.0)],
        loops=[LoopStatistics(text, 1000, 4.0, 0.05, 0.11, 0.9, 2)],
        durations=[Duration(text, 31.2, text), Duration("train", 143.0)],
        environment={text: text},
        configuration=text,
    )


def test_page_is_well_formed_and_self_contained():
    html = to_html(full())
    page = Page(html)
    assert page.tags["svg"] == 3
    assert page.tags["script"] == 0
    assert page.tags["link"] == 0
    assert page.values("src") == [PIXEL]
    assert all(target.startswith("#") for target in page.values("href") + page.values("xlink:href"))
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_ids_are_unique_and_references_resolve():
    html = to_html(full())
    page = Page(html)
    ids = Counter(page.values("id"))
    assert max(ids.values()) == 1
    references = {target[1:] for target in page.values("xlink:href") + page.values("href")}
    references |= {part.split(")")[0] for part in html.split("url(#")[1:]}
    assert references
    assert references <= set(ids)


def test_everything_written_by_others_is_escaped():
    page = Page(to_html(full(EVIL)))
    assert page.tags["script"] == 0
    # title, heading, summary, row and note, finding, chart (title, 2 labels, legend, note), and so on
    assert page.text.count(EVIL) >= 18
    assert EVIL in page.values("alt")
    assert EVIL in page.values("aria-label")


def test_missing_parts_are_left_out():
    page = Page(to_html(Report("only a title")))
    assert page.tags["section"] == 0
    assert page.tags["h1"] == 1
    nothing = Report("t", charts=[Chart("c", "x", "y", [])], histograms=[Histogram("h", "ms", [])])
    assert Page(to_html(nothing)).tags["section"] == 0


def test_figures_shown():
    text = Page(to_html(full())).text
    for figure in (
        "0.87",
        "0.79 to 0.92",
        "87/100",
        "0.00 to 0.16",
        "2 min 23 s",
        "2 min 54 s",
        "0.11 ms",
        "median 2.05",
    ):
        assert figure in text, figure


def test_charts_take_their_colours_from_the_page():
    series = [Series(str(i), range(3), range(3)) for i in range(8)]
    for svg in (
        draw_chart(Chart("t", "x", "y", series), key="k"),
        draw_histogram(Histogram("t", "x", [1, 2, 3]), key="k"),
    ):
        assert "var(--s1)" in svg
        assert "var(--muted)" in svg
        assert "#0101" not in svg
        assert "#0404" not in svg
        assert "DejaVu" not in svg  # text is in the page's font


def test_same_data_same_page():
    assert to_html(full()) == to_html(full())


def test_written_in_one_go(tmp_path):
    path = tmp_path / "run" / "report.html"
    write_report(path, Report("first"))
    write_report(path, full())
    assert path.read_text(encoding="utf-8") == to_html(full())
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("image", ["https://example.org/a.png", 'data:image/png;base64,AA" onload="x', "a.png"])
def test_pictures_are_data_uris(image):
    with pytest.raises(ValueError, match="no base64 data URI"):
        Strip(image, "strip")


def test_series_are_checked():
    with pytest.raises(ValueError, match="different lengths"):
        Series("a", [1, 2], [1])
    with pytest.raises(ValueError, match="one side"):
        Series("a", [1], [1], low=[0])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (185, "3 min 05 s"), (3599.6, "1 h 00 min"), (7620, "2 h 07 min")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_terminal_table():
    console = Console(file=io.StringIO(), width=100)
    print_table([Row("base [bold]", SuccessRate(87, 100), "60 episodes"), Row("expert", SuccessRate(20, 20))], console)
    lines = console.file.getvalue().splitlines()
    base = next(line for line in lines if "base" in line)
    for cell in ("base [bold]", "87/100", "0.87", "0.79 to 0.92", "60 episodes"):
        assert cell in base
    assert "note" in lines[1]
