"""What a reward model says beside the truth, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.commands.reward_data import LabelledEpisode

if TYPE_CHECKING:
    from robolearn.eval.charts import Chart
    from robolearn.rewards.model import Reading

EACH = 2  # successes, and as many failures of each kind
SUCCESS, UNNAMED = "success", ""


def by_kind(episodes: Sequence[LabelledEpisode]) -> dict[str, list[int]]:
    """Return the places of the episodes of each kind that there is: successes, then failures.

    Failures that have no kind come first, under `UNNAMED`; the kinds follow as they first appear.
    """
    places: dict[str, list[int]] = {SUCCESS: [], UNNAMED: []}
    for i, episode in enumerate(episodes):
        places.setdefault(SUCCESS if episode.success else episode.failure, []).append(i)
    return {kind: found for kind, found in places.items() if found}


def save_validation(path: Path, readings: Sequence[Reading], episodes: Sequence[LabelledEpisode]) -> None:
    """Draw progress and probability of success beside the true progress: successes and each kind of failure.

    Args:
        path: a PNG file.
        readings: what the model says of each episode's frames.
        episodes: with labels.
    """
    from robolearn.eval.plots import save_grid

    charts = [
        _chart(kind.replace("_", " ") or "failure", readings[place], episodes[place])
        for kind, places in by_kind(episodes).items()
        for place in places[:EACH]
    ]
    save_grid(path, charts, columns=2 * EACH)


def _chart(title: str, reading: Reading, episode: LabelledEpisode) -> Chart:
    from robolearn.eval.charts import Chart, Series

    truth = episode.labels.progress
    lines = {"true": truth, "predicted": reading.progress.numpy(), "done": reading.success.numpy()}
    series = [Series(name, range(len(truth)), values.tolist()) for name, values in lines.items()]
    return Chart(title, "frame", "progress", series, ylim=(-0.02, 1.02))
