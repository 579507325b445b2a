import re
from html.parser import HTMLParser

import numpy as np
import pytest

from robolearn.eval.dataset_page import DatasetPage, Distribution, EpisodeView, Film, Line, Plot, Stretch, to_html

PIXEL = "data:image/jpeg;base64,iVBORw0KGgo="
EVIL = "<script>alert('x')</script> & \"quoted\""


class Balanced(HTMLParser):
    """Checks that tags close in order, and collects the text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text, self.tags = [], "", []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def episode(number, text="x", pictures=2):
    wave = np.sin(np.arange(50))
    return EpisodeView(
        number=number,
        task=text,
        success=number % 2 == 0,
        notes=["2.0 s", text],
        films=[Film(text, [(PIXEL, f"{k} s") for k in range(pictures)])],
        stages=[Stretch(text, 0, 0.25), Stretch("done", 1, 0.75)],
        channels={text: [Plot(text, "m", wave, (-1.0, 1.0)), Plot("flat", "rad", np.full(50, 0.25), (0.25, 0.25))]},
    )


def data(text="x", episodes=10):
    return DatasetPage(
        title=text,
        summary="A dataset.",
        facts={"robot": text},
        channels=[(text, "float32", "3", "m", "-1", "1")],
        findings=[text],
        distributions=[Distribution(text, "s", np.arange(10.0))],
        index=[Line(i, 1.5, None if i == 1 else True, text) for i in range(episodes)],
    )


def test_the_page_is_well_formed_and_fetches_and_runs_nothing():
    html, shown = to_html(data(), [episode(0), episode(3)])
    parsed = Balanced(html)
    assert shown == 2
    assert parsed.tags.count("img") == 4
    assert not {"script", "link", "iframe"} & set(parsed.tags)
    assert "default-src 'none'" in html
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert "2 of 10 episodes are shown" in parsed.text


def test_everything_written_by_others_is_escaped():
    html, _ = to_html(data(EVIL), [episode(0, EVIL)])
    assert "<script" not in html
    assert Balanced(html).text.count(EVIL) > 8


def test_colours_come_from_the_page_so_that_light_and_dark_both_work():
    html, _ = to_html(data(), [episode(0)])
    body = html.partition("<body>")[2]
    assert not re.findall(r"#[0-9a-fA-F]{3,6}\b(?!\")", body)
    assert "--c:var(--s1)" in body


def test_the_index_links_to_what_is_shown():
    html, _ = to_html(data(), [episode(3)])
    assert re.findall(r'href="#(e\d+)"', html) == ["e3"]
    assert '<section id="e3">' in html


def test_stages_are_bars_in_proportion_and_lines_in_the_plots():
    html, _ = to_html(data(), [episode(0)])
    assert re.findall(r"flex:([\d.]+)", html) == ["0.2500", "0.7500"]
    assert "M250,0V100" in html


def test_components_that_do_not_change_are_told_not_drawn():
    html, _ = to_html(data(), [episode(0)])
    assert "Does not change: flat 0.25 rad" in html
    assert html.count('class="l"') == 1


def test_a_page_that_would_be_too_large_shows_fewer_episodes_from_everywhere():
    many = [episode(i, pictures=40) for i in range(40)]
    html, shown = to_html(data(episodes=40), many, budget=60_000)
    assert 5 < shown < 40
    numbers = [int(n) for n in re.findall(r'<section id="e(\d+)">', html)]
    assert (len(numbers), numbers[0], numbers[-1]) == (shown, 0, 39)
    assert np.diff(numbers).max() - np.diff(numbers).min() <= 1
    assert len(html) < 60_000 + 40_000


def test_pictures_from_elsewhere_are_refused():
    with pytest.raises(ValueError, match="no base64 data URI"):
        Film("x", [("https://example.org/a.png", "1 s")])
