"""What lies on top of a bundle's policy, on ONNX Runtime: a correction of each action, steered noise, the best of N."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.acting import Acting
from robolearn.bundle_format import ON_TOP, on_top_graph
from robolearn.errors import UserError
from robolearn.normalize import Normalizer
from robolearn.on_top import BestOf, Score, Steer, Steered
from robolearn.protocols import Observation, Policy
from robolearn.real.onnx_policy import open_graph, run_graph
from robolearn.schema import Schema

Array = NDArray[np.float32]


class OnTopGraph:
    """A graph of the newest frame and one more input."""

    def __init__(self, folder: Path, kind: str, *, schema: Schema, normalizer: Normalizer) -> None:
        """Open the graph of a kind, one of `ON_TOP`.

        Raises:
            UserError: it cannot be opened, or its inputs are not the expected ones.
        """
        self.normalizer = normalizer
        self._keys = schema.observation_keys
        self._given, _ = ON_TOP[kind]
        self._graph = open_graph(folder / on_top_graph(kind), (*self._keys, self._given))

    def __call__(self, frame: Observation, given: Array) -> Array:
        """Output for a frame [n, ...] in physical units and the further input [n * m, width], m for each of them."""
        channels = self.normalizer.observation(frame)
        times = len(given) // len(channels[self._keys[0]])
        channels = {key: np.repeat(values, times, axis=0) for key, values in channels.items()}
        return run_graph(self._graph, {**channels, self._given: given}, (*self._keys, self._given))

    def newest(self, observation: Observation) -> dict[str, NDArray[Any]]:
        """The last frame of a history [n, n_obs_steps, ...]."""
        return {key: observation[key][:, -1] for key in self._keys}


class OnnxCorrection:
    """The action to execute in place of the base's; see `robolearn.acting.Correction`."""

    def __init__(self, graph: OnTopGraph) -> None:
        """Correct with a graph of the kind "correction"."""
        self._graph, self._action = graph, graph.normalizer["action"]

    def __call__(self, observation: Observation, base_action: Array) -> Array:
        """Return the action [n, action_dim] to execute."""
        base = np.clip(self._action(base_action), -1.0, 1.0)
        action = self._graph(observation, base)
        # where nothing was changed the base's own bits
        return np.where(action == base, base_action, self._action.inverse(action))


def on_top_of(
    policy: Policy, folder: Path, description: dict[str, Any] | None, *, schema: Schema, normalizer: Normalizer
) -> Acting:
    """Put on a bundle's policy what its manifest says lies on top of it, if anything.

    Raises:
        UserError: it is of an unknown kind, or needs noise that the policy does not draw.
    """
    if description is None:
        return Acting(policy, None)
    kind = description["kind"]
    if kind not in ON_TOP:
        raise UserError(f"{folder}: '{kind}' on top of a policy is unknown here: export again with this version")
    graph = OnTopGraph(folder, kind, schema=schema, normalizer=normalizer)
    if kind == "correction":
        return Acting(policy, OnnxCorrection(graph))
    if (shape := policy.noise_shape) is None:
        raise UserError(f"{folder}: '{kind}' needs a policy that draws noise, this one does not: export it again")
    if kind == "steering":
        return Acting(Steered(policy, _steer(graph), noise_shape=shape), None)
    candidates, temperature = int(description["candidates"]), float(description["temperature"])
    best = BestOf(policy, _score(graph), noise_shape=shape, candidates=candidates, temperature=temperature)
    return Acting(best, None)


def _steer(graph: OnTopGraph) -> Steer:
    def steer(observation: Observation, noise: Array, n_samples: int) -> Array:
        return graph(graph.newest(observation), noise.reshape(len(noise), -1)).reshape(noise.shape)

    return steer


def _score(graph: OnTopGraph) -> Score:
    def score(observation: Observation, chunks: Array) -> Array:
        normal = np.clip(graph.normalizer["action"](chunks), -1.0, 1.0)
        values = graph(graph.newest(observation), normal.reshape(-1, chunks.shape[2] * chunks.shape[3]))
        return values.reshape(chunks.shape[:2])

    return score
