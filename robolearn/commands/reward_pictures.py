"""What a reward model says beside the truth, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.commands.reward_data import LabelledEpisode

if TYPE_CHECKING:
    from robolearn.rewards.model import Reading

EACH = 2  # successes, and as many failures


def save_validation(path: Path, readings: Sequence[Reading], episodes: Sequence[LabelledEpisode]) -> None:
    """Draw progress and probability of success beside the true progress, of a few successes and failures."""
    from robolearn.eval.charts import Chart, Series
    from robolearn.eval.plots import save_charts

    chosen = [
        place
        for wanted in (True, False)
        for place in [i for i, episode in enumerate(episodes) if episode.success is wanted][:EACH]
    ]
    charts = []
    for place in chosen:
        truth, reading = episodes[place].labels.progress, readings[place]
        time = list(range(len(truth)))
        lines = {"true": truth, "predicted": reading.progress.numpy(), "done": reading.success.numpy()}
        title = "success" if episodes[place].success else "failure"
        series = [Series(name, time, values.tolist()) for name, values in lines.items()]
        charts.append(Chart(title, "frame", "progress", series, ylim=(-0.02, 1.02)))
    save_charts(path, charts)
