"""A bundle's monitor without torch: progress by a graph of the frame and the state before it, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.bundle_format import MONITOR, MONITOR_STATE, TOLD, input_name, monitor_outputs
from robolearn.errors import UserError
from robolearn.language import Tokenizer
from robolearn.monitoring import MonitorSettings, Verdict
from robolearn.protocols import Observation
from robolearn.real.onnx_policy import open_graph
from robolearn.schema import Progress

Array = NDArray[np.float32]


class OnnxEstimator:
    """Satisfies `robolearn.protocols.ProgressEstimator`.

    Attributes:
        stage_names: of the task.
        kinds: of failure that it tells apart; none where it tells none.
        kind: [1 + kinds] probability of no failure and of each kind after the last frame; empty where it tells none.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        """Load the graph of a bundle; `description` is the manifest's `monitor`.

        Raises:
            UserError: the graph cannot be opened, or its inputs are not the expected ones.
        """
        self.stage_names, self.kinds = tuple(description["stage_names"]), tuple(description["kinds"])
        self._channels = tuple(description["channels"])
        size, dim = int(description["snippet"]), int(description["hidden_dim"])
        self._begin = (np.zeros((1, dim), np.float32), np.zeros((1, size, dim), np.float32), np.zeros(1, np.int64))
        self._tokenizer = Tokenizer(**description["language"])
        self._graph = open_graph(folder / MONITOR, (*MONITOR_STATE, TOLD, *self._channels))
        self._outputs = monitor_outputs(self.kinds)
        if [one.name for one in self._graph.get_outputs()] != list(self._outputs):
            raise UserError(f"{folder / MONITOR} has other outputs than its description says: export the bundle again")
        self.reset()

    def reset(self) -> None:
        """See `ProgressEstimator.reset`."""
        self._state: tuple[NDArray[Any], ...] = self._begin
        self.kind = np.zeros(0, np.float32)

    def update(self, observation: Observation, instruction: str) -> Progress:
        """See `ProgressEstimator.update`."""
        feeds = dict(zip(MONITOR_STATE, self._state, strict=True))
        feeds[TOLD] = self._tokenizer([instruction])
        feeds |= {input_name(key): np.asarray(observation[key])[None] for key in self._channels}
        memory, begun, count, stages, progress, *kinds = self._graph.run(self._outputs, feeds)
        self._state = (memory, begun, count)
        self.kind = kinds[0][0] if kinds else self.kind
        return Progress(int(stages[0].argmax()), float(progress[0]), float(stages[0, -1]))


class Watching(NamedTuple):
    """A bundle's estimator and the numbers of its monitor."""

    estimator: OnnxEstimator
    settings: MonitorSettings


def load_monitor(folder: Path, description: Mapping[str, Any] | None) -> Watching | None:
    """Load what a bundle's manifest describes as "monitor"; None where it has none.

    Raises:
        UserError: the graph or the settings cannot be used.
    """
    if description is None:
        return None
    try:
        settings = MonitorSettings.from_dict(description["settings"])
        return Watching(OnnxEstimator(folder, description), settings)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the monitor of bundle {folder} is damaged ({error}): export the bundle again") from error


def sentence(verdict: Verdict, stage_names: tuple[str, ...]) -> str:
    """Say a verdict in words."""
    return f"{verdict.outcome} in stage '{stage_names[verdict.stage]}' ({verdict.confidence:.0%} sure)"
