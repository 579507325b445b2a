"""A recurrent reward model as the monitor of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from robolearn.commands.readings import model_folder
from robolearn.errors import UserError
from robolearn.monitoring import FILE, MonitorSettings
from robolearn.real.monitor import OnnxEstimator
from robolearn.rewards.recurrent.graph import StepGraph, describe, example_of
from robolearn.rewards.recurrent.modeling_recurrent import Recurrent
from robolearn.rewards.serving import TorchEstimator, load_estimator
from robolearn.schema import Schema, SchemaError

FRAMES = 50  # of the episode on which graph and model are compared


class Watched(NamedTuple):
    """An estimator, and what `robolearn.export.bundle.export_bundle` takes of it."""

    estimator: TorchEstimator
    part: tuple[torch.nn.Module, Mapping[str, torch.Tensor], Mapping[str, Any]]


def load_watching(folder: Path, schema: Schema) -> Watched:
    """Load a reward model for the monitor of a policy that reads `schema`.

    Raises:
        UserError: it is none, or not a recurrent one, or reads what the policy does not, or has no monitor.
    """
    folder = model_folder(folder)
    estimator = load_estimator(folder)
    if not isinstance(estimator.model, Recurrent):
        raise UserError(f"{folder} holds no recurrent reward model: train one with reward=recurrent for the monitor")
    if not (folder / FILE).exists():
        raise UserError(f"{folder} lacks {FILE}: train it with successes among the episodes kept for validation")
    if missing := [key for key in estimator.schema if key not in schema.features]:
        raise UserError(f"the reward model reads '{missing[0]}', the policy does not: train it with observations=[...]")
    try:
        estimator.schema.require_same(schema.select(estimator.schema), what="the policy")
    except SchemaError as error:
        raise UserError(f"reward model {folder} does not fit the policy: {error}; train it on the same data") from error
    described = describe(estimator) | {"settings": MonitorSettings.load(folder / FILE).to_dict()}
    return Watched(estimator, (StepGraph(estimator.model, estimator.normalizer), example_of(estimator), described))


def check_monitor(model: TorchEstimator, graph: OnnxEstimator, instruction: str, *, atol: float) -> float:
    """Compare a model with its graph over an episode of frames that wander as far as the training data did.

    Returns:
        The largest difference between probabilities, or between progress.

    Raises:
        UserError: it is above `atol`.
    """
    frames = _wandering(model)
    reading = model.episode(frames, instruction)
    kinds = model.kinds(frames, instruction) if graph.kinds else None
    graph.reset()
    largest = 0.0
    for t in range(FRAMES):
        told = graph.update({key: values[t] for key, values in frames.items()}, instruction)
        differences = [told.value - float(reading.progress[t]), told.success - float(reading.success[t])]
        if kinds is not None:
            differences += (graph.kind - kinds[t]).tolist()
        largest = max(largest, float(np.abs(differences).max()))
    if not largest <= atol:  # a NaN is no match either
        raise UserError(f"exported and original monitor differ by {largest:.2g} (allowed {atol:.2g}): report a bug")
    return largest


def _wandering(model: TorchEstimator) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    frames: dict[str, NDArray[Any]] = {}
    for key in model.schema.observation_keys:
        feature = model.schema[key]
        if feature.is_picture:
            frames[key] = rng.integers(0, 256, (FRAMES, *feature.shape), np.uint8)
            continue
        mean, std = (np.asarray(model.statistics[key][name], np.float32) for name in ("mean", "std"))
        steps = rng.standard_normal((FRAMES, len(mean)), np.float32)
        frames[key] = mean + std * 0.3 * steps.cumsum(axis=0, dtype=np.float32)
    return frames
