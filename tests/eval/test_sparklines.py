import re

import numpy as np
import pytest

from robolearn.eval.sparklines import COLUMNS, HEIGHT, MARGIN, WIDTH, bars, line


def points(svg):
    (path,) = re.findall(r'class="l" d="([^"]*)"', svg)
    return np.array(re.findall(r"(-?\d+),(-?\d+)", path), int)


def test_a_line_goes_through_its_values_between_the_limits():
    drawn = points(line(np.array([0.0, 1.0, 0.5]), limits=(0, 1), label="x"))
    np.testing.assert_array_equal(drawn, [[0, HEIGHT - MARGIN], [WIDTH // 2, MARGIN], [WIDTH, HEIGHT // 2]])


@pytest.mark.parametrize("values", [[2.0], [2.0, 2.0]])
def test_what_does_not_change_is_a_level_line(values):
    drawn = points(line(np.array(values), limits=(2, 2), label="x"))
    np.testing.assert_array_equal(drawn, [[0, HEIGHT // 2], [WIDTH, HEIGHT // 2]])


def test_a_long_series_stays_small_and_keeps_its_spikes():
    values = np.zeros(100_000)
    values[51_234], values[77_777] = 1.0, -1.0
    svg = line(values, limits=(-1, 1), label="x")
    drawn = points(svg)
    assert len(drawn) <= 2 * COLUMNS
    assert len(svg) < 5000
    assert (drawn[:, 1].min(), drawn[:, 1].max()) == (MARGIN, HEIGHT - MARGIN)
    assert abs(drawn[drawn[:, 1].argmin(), 0] - 512) <= 1
    assert (np.diff(drawn[:, 0]) >= 0).all()


def test_marks_stand_where_they_are_said_to():
    svg = line(np.arange(3.0), limits=(0, 2), label="x", marks=(0.25, 0.5))
    assert re.findall(r"M(\d+),0V", svg) == ["250", "500"]


def test_bars_have_heights_in_proportion_to_the_counts():
    svg = bars(np.repeat([0.0, 1.0], [10, 5]), label="x", bins=2)
    assert re.findall(r"M(\d+),100V(\d+)H", svg) == [("0", "0"), ("500", "50")]


def test_labels_are_escaped():
    assert 'aria-label="&lt;b&gt; &quot;x&quot;"' in bars(np.arange(3.0), label='<b> "x"')
