"""Small plots as SVG of a kilobyte or two: a page can hold hundreds of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, MARGIN = 1000, 100, 6  # of the drawing's own units, stretched to the place it gets
COLUMNS = 160  # points along the time axis; longer series show the range of what falls together


def line(values: NDArray[np.floating], *, limits: tuple[float, float], label: str, marks: Sequence[float] = ()) -> str:
    """Draw a series.

    Args:
        values: [T].
        limits: values at the lower and the upper edge.
        label: what it is, for those who cannot see it.
        marks: places in [0, 1] along the time axis at which to draw a vertical line.
    """
    x, y = _thinned(np.asarray(values, np.float64))
    low, high = limits
    place = (y - low) / (high - low) if high > low else np.full(len(y), 0.5)
    heights = HEIGHT - MARGIN - place * (HEIGHT - 2 * MARGIN)
    points = [f"{round(a * WIDTH)},{round(b)}" for a, b in zip(x, heights, strict=True)]
    upright = "".join(f"M{round(mark * WIDTH)},0V{HEIGHT}" for mark in marks)
    drawn = f'<path class="m" d="{upright}"/>' if upright else ""
    return _svg(f'{drawn}<path class="l" d="M{"L".join(points)}"/>', label)


def bars(values: NDArray[np.floating], *, label: str, bins: int = 40) -> str:
    """Draw a histogram of values [n]; the highest bar has the full height."""
    counts, _ = np.histogram(np.asarray(values, np.float64), bins=bins)
    width = WIDTH / bins
    heights = counts / max(1, counts.max()) * HEIGHT
    drawn = [
        f"M{round(i * width)},{HEIGHT}V{round(HEIGHT - height)}H{round((i + 1) * width) - 3}V{HEIGHT}Z"
        for i, height in enumerate(heights)
        if height > 0
    ]
    return _svg(f'<path class="b" d="{"".join(drawn)}"/>', label)


def _thinned(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places in [0, 1] and values: all of them, or the smallest and largest of each group."""
    count = len(values)
    if count == 1:
        return np.array([0.0, 1.0]), np.repeat(values, 2)
    if count <= 2 * COLUMNS:
        return np.linspace(0, 1, count, dtype=np.float64), values
    groups = np.array_split(np.arange(count), COLUMNS)
    # both in the order in which they come, so that the line does not cross itself
    kept = np.array([sorted((g[values[g].argmin()], g[values[g].argmax()])) for g in groups]).reshape(-1)
    return kept / (count - 1), values[kept]


def _svg(drawn: str, label: str) -> str:
    return (
        f'<svg class="spark" role="img" aria-label="{escape(label, quote=True)}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'preserveAspectRatio="none">{drawn}</svg>'
    )
