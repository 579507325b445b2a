"""A bundle's graphs as `Policy` and `Correction`, on ONNX Runtime with one thread: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from robolearn.bundle_format import input_name
from robolearn.errors import UserError
from robolearn.normalize import Normalizer
from robolearn.protocols import Observation
from robolearn.sampling import euler
from robolearn.schema import ActionChunk, Schema

Array = NDArray[np.float32]


class OnnxPolicy:
    """Flow policy: Euler steps outside the graph, velocity inside; see `robolearn.protocols.Policy`."""

    def __init__(self, graph: Path, *, schema: Schema, normalizer: Normalizer, description: dict[str, Any]) -> None:
        """Load `velocity.onnx`; `description` is the manifest's `policy`.

        Raises:
            UserError: if the sampler is unknown or the graph's inputs are not the schema's channels.
        """
        sampler = description["sampler"]
        if sampler["name"] != "euler":
            raise UserError(f"{graph}: sampler '{sampler['name']}' is unknown here: export again with 'euler'")
        self.schema = schema
        self.horizon = int(description["horizon"])
        self.n_action_steps = int(description["n_action_steps"])
        self.n_obs_steps = int(description["n_obs_steps"])
        self.noise_shape: tuple[int, ...] | None = tuple(description["noise_shape"])
        self._steps = int(sampler["steps"])
        self._normalizer = normalizer
        self._session = open_graph(graph, (*schema.observation_keys, "sample", "time"))
        self._rng = np.random.default_rng()

    def predict_chunk(self, observation: Observation, noise: Array | None = None, n_samples: int = 1) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`."""
        normal = self._normalizer.observation(observation)
        feeds = {input_name(key): np.repeat(value, n_samples, axis=0) for key, value in normal.items()}
        batch = len(next(iter(feeds.values())))
        if noise is None:
            noise = self._rng.standard_normal((batch, *self.noise_shape), np.float32)  # type: ignore[misc]

        def velocity(sample: Array, time: float) -> Array:
            times = np.full(batch, time, np.float32)
            return self._session.run(["velocity"], {**feeds, "sample": sample, "time": times})[0]

        sample = euler(velocity, noise.astype(np.float32, copy=False), steps=self._steps)
        values = self._normalizer["action"].inverse(np.clip(sample, -1.0, 1.0))
        if n_samples > 1:
            values = values.reshape(-1, n_samples, *values.shape[1:])
        return ActionChunk(values=values, t0=0.0, dt=1.0 / self.schema.fps)


class OnnxCorrection:
    """Residual policy: executed = inverse(clip(base + scale * residual, -1, 1)) in normalised units."""

    def __init__(self, graph: Path, *, schema: Schema, normalizer: Normalizer, scale: list[float]) -> None:
        """Load `residual.onnx`; `scale` [action_dim] is the largest change, in normalised units."""
        if len(scale) != schema.action.shape[0]:
            raise UserError(f"{graph}: {len(scale)} residual scales for {schema.action.shape[0]} action components")
        self._scale = np.array(scale, np.float32)
        self._normalizer = normalizer
        self._session = open_graph(graph, (*schema.observation_keys, "base_action"))

    def __call__(self, observation: Observation, base_action: Array) -> Array:
        """Return the action [n, action_dim] to execute; see `robolearn.acting.Correction`."""
        action = self._normalizer["action"]
        base = action(base_action)
        feeds = {input_name(key): value for key, value in self._normalizer.observation(observation).items()}
        residual = self._session.run(["residual"], {**feeds, "base_action": base})[0]
        return action.inverse(np.clip(base + self._scale * residual, -1.0, 1.0))


def open_graph(path: Path, channels: tuple[str, ...]) -> onnxruntime.InferenceSession:
    """Open a graph with one thread and check that it has an input for each channel.

    Raises:
        UserError: if ONNX Runtime cannot read it or an input is missing or extra.
    """
    options = onnxruntime.SessionOptions()
    # more threads would spin beside the control loop, for graphs that take about a millisecond
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no other base
        raise UserError(f"{path} is no graph that ONNX Runtime can open: export the bundle again ({error})") from error
    found = {graph_input.name for graph_input in session.get_inputs()}
    expected = {input_name(channel) for channel in channels}
    if differing := sorted(found ^ expected):
        where = "lacks" if differing[0] in expected else "has an unknown"
        raise UserError(f"{path} {where} input '{differing[0]}': export the bundle again")
    return session
