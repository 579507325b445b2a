"""Predicted beside true progress in `robolearn bench rewards`: examples that a result keeps, and pictures of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robolearn.bench._reward_judge import Estimate, pack, unpack
from robolearn.bench._reward_sets import HELD_OUT, INPUTS, TASKS
from robolearn.commands.reward_data import LabelledEpisode
from robolearn.commands.reward_pictures import by_kind
from robolearn.eval.charts import Chart, Series

if TYPE_CHECKING:
    from robolearn.bench._reward_runs import Run

SHOWN = ("sarm", "recurrent", "lerobot_sarm_mended")
POINTS = 64  # of an example, at most: results are committed
COLUMNS = 3
Examples = Mapping[str, Mapping[str, Any]]  # by the kind of episode


def examples(estimate: Estimate, episodes: Sequence[LabelledEpisode]) -> dict[str, dict[str, Any]]:
    """Return what is said of the first episode of each kind: "success", "partial" (no failure was provoked), failures.

    An example has `every` n-th control step only, so that there are at most `POINTS`, with `true_progress` and
    `progress` to three digits, packed.

    Args:
        estimate: from frames and instruction to what is said of them, causally.
        episodes: with labels.
    """
    kept = {}
    for kind, places in by_kind(episodes).items():
        episode = episodes[places[0]]
        read, truth = estimate(episode.frames, episode.instruction), episode.labels
        every = -(-len(truth.stage) // POINTS)
        kept[kind or "partial"] = {
            "every": every,
            "true_progress": pack(truth.progress[::every].round(3)),
            "progress": pack(read.progress[::every].round(3)),
        }
    return kept


def draw(folder: Path, results: Mapping[Run, Mapping[str, Any]]) -> None:
    """Draw `rewards_TASK.png`, or with images `rewards_TASK_images.png`, of each task of which results keep examples.

    Args:
        folder: of the pictures.
        results: of runs.
    """
    from robolearn.eval.plots import save_grid

    for task, inputs in itertools.product(TASKS, INPUTS):
        found = {
            one.estimator: kept
            for one, result in results.items()
            if (one.task, one.inputs) == (task, inputs) and (kept := _kept(result))
        }
        known = {name: found[name] for name in SHOWN if name in found}
        if known:
            name = f"rewards_{task}.png" if inputs == "state" else f"rewards_{task}_{inputs}.png"
            save_grid(folder / name, charts(known), columns=COLUMNS)


def charts(known: Mapping[str, Examples]) -> list[Chart]:
    """Return a chart for each kind: the true progress, and what each estimator says of the same episode.

    Args:
        known: examples by estimator.
    """
    kinds = dict.fromkeys(kind for kept in known.values() for kind in kept)
    return [_chart(kind, {name: kept[kind] for name, kept in known.items() if kind in kept}) for kind in kinds]


def _kept(result: Mapping[str, Any]) -> Examples:
    """Examples of a result, of each kind one; of those in both sets, the one among kinds that were trained on."""
    sets = result.get("examples", {})
    return {**sets.get("in_distribution", {}), **{k: v for k, v in sets.get("held_out", {}).items() if k in HELD_OUT}}


def _chart(kind: str, said: Mapping[str, Mapping[str, Any]]) -> Chart:
    first = next(iter(said.values()))
    series = [_series("true", first, "true_progress"), *(_series(name, one, "progress") for name, one in said.items())]
    title = kind.replace("_", " ") + (" (held out)" if kind in HELD_OUT else "")
    return Chart(title, "control steps", "progress", series, ylim=(-0.02, 1.02))


def _series(label: str, example: Mapping[str, Any], line: str) -> Series:
    values = unpack(example[line]).tolist()
    return Series(label, [i * example["every"] for i in range(len(values))], values)
