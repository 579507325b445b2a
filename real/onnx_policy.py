"""A bundle's graphs as `Policy`, on ONNX Runtime with one thread: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from robolearn.bundle_format import DENOISER, ENCODER, NOISE, TOLD, WHOLE, denoiser_inputs, input_name
from robolearn.errors import UserError
from robolearn.language import Tokenizer, instructions_of
from robolearn.normalize import Affine, Normalizer
from robolearn.protocols import Observation
from robolearn.sampling import SAMPLERS, agreed_steps, sample
from robolearn.schema import ActionChunk, Schema

Array = NDArray[np.float32]

_TYPES: dict[str, Any] = {"tensor(uint8)": np.uint8, "tensor(int64)": np.int64}  # pictures, tokens; else float32


class OnnxPolicy:
    """Samples chunks with a denoiser graph; the sampler is outside. See `robolearn.protocols.Policy`."""

    def __init__(self, folder: Path, *, schema: Schema, normalizer: Normalizer, description: dict[str, Any]) -> None:
        """Load a bundle's encoder and denoiser; `description` is the manifest's `policy`.

        Raises:
            UserError: if the sampler is unknown or a graph's inputs are not the expected ones.
        """
        self._sampler = description["sampler"]
        if (name := self._sampler["name"]) not in SAMPLERS:
            raise UserError(f"{folder}: sampler '{name}' is unknown here: export again with this version")
        self.schema = schema
        self.horizon = int(description["horizon"])
        self.n_action_steps = int(description["n_action_steps"])
        self.n_obs_steps = int(description["n_obs_steps"])
        self.noise_shape: tuple[int, ...] | None = tuple(description["noise_shape"])
        self._mixed = len(description.get("horizons", ()))
        self._consensus = description.get("consensus")
        units = description.get("units")  # of a policy that normalises in its own way
        self._normalizer = normalizer if units is None else None
        self._action = normalizer["action"] if units is None else _affine(**units)
        self._low, self._high = (np.array(bound, np.float32) for bound in (schema.action.low, schema.action.high))
        self._past = int(description.get("past", 0))
        language = description.get("language")
        self._tokenizer = None if language is None else Tokenizer(**language)
        self.reads_task = language is not None
        self._read = (*schema.observation_keys, *((TOLD,) if self.reads_task else ()))
        self._encoder = open_graph(folder / ENCODER, self._read)
        self._scalars = denoiser_inputs(self._sampler)[2:]
        self._denoiser = open_graph(folder / DENOISER, denoiser_inputs(self._sampler))
        self._rng = np.random.default_rng()

    def predict_chunk(self, observation: Observation, noise: Array | None = None, n_samples: int = 1) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`."""
        observed = np.repeat(self._encode(observation), n_samples, axis=0)
        batch = len(observed)
        if noise is None:
            noise = self._rng.standard_normal((batch, *self.noise_shape), np.float32)  # type: ignore[misc]

        def model(x: Array, *scalars: float) -> Array:
            feeds = {"observed": observed, "sample": x[0] if self._mixed else x}
            feeds |= {
                name: np.full(batch, value, np.float32) for name, value in zip(self._scalars, scalars, strict=True)
            }
            return self._denoiser.run(None, feeds)[0]

        start = noise.astype(np.float32, copy=False)
        if self._mixed:
            start = np.broadcast_to(start, (1 + self._mixed, *start.shape))
        chunks = sample(model, start, self._sampler)
        chunks = chunks if self._mixed else chunks[None]
        if n_samples > 1:
            chunks = chunks.reshape(len(chunks), -1, n_samples, *chunks.shape[2:])
        values = self._action.inverse(chunks[0][..., self._past :, :]).clip(self._low, self._high)
        n_valid = None if self._consensus is None else agreed_steps(chunks, **self._consensus)
        return ActionChunk(values=values, t0=0.0, dt=1.0 / self.schema.fps, n_valid=n_valid)

    def _encode(self, observation: Observation) -> Array:
        channels = dict(observation) if self._normalizer is None else self._normalizer.observation(observation)
        if self._tokenizer is not None:
            channels[TOLD] = self._tokenizer(instructions_of(observation))
        return run_graph(self._encoder, channels, self._read)


class OneGraphPolicy:
    """Predicts chunks with a single graph, in physical units. See `robolearn.protocols.Policy`."""

    def __init__(self, folder: Path, *, schema: Schema, description: dict[str, Any]) -> None:
        """Load a bundle's graph; `description` is the manifest's `policy`.

        Raises:
            UserError: if the graph's inputs are not the expected ones.
        """
        self.schema, self.reads_task = schema, False
        self.horizon = int(description["horizon"])
        self.n_action_steps = int(description["n_action_steps"])
        self.n_obs_steps = int(description["n_obs_steps"])
        noise = description["noise_shape"] or None
        self.noise_shape: tuple[int, ...] | None = None if noise is None else tuple(noise)
        self._low, self._high = (np.array(bound, np.float32) for bound in (schema.action.low, schema.action.high))
        self._read = (*schema.observation_keys, *(() if noise is None else (NOISE,)))
        self._graph = open_graph(folder / WHOLE, self._read)
        self._rng = np.random.default_rng()

    def predict_chunk(self, observation: Observation, noise: Array | None = None, n_samples: int = 1) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`; without noise all samples are alike."""
        channels = {key: np.repeat(observation[key], n_samples, axis=0) for key in self.schema.observation_keys}
        if self.noise_shape is not None:
            batch = len(channels[self.schema.observation_keys[0]])
            drawn = self._rng.standard_normal((batch, *self.noise_shape), np.float32) if noise is None else noise
            channels[NOISE] = drawn
        values = run_graph(self._graph, channels, self._read).clip(self._low, self._high)
        if n_samples > 1:
            values = values.reshape(-1, n_samples, *values.shape[1:])
        return ActionChunk(values=values, t0=0.0, dt=1.0 / self.schema.fps)


def run_graph(graph: onnxruntime.InferenceSession, channels: Observation, keys: tuple[str, ...]) -> Array:
    """Return the only output of a graph that takes these channels."""
    types = {given.name: _TYPES.get(given.type, np.float32) for given in graph.get_inputs()}
    feeds = {input_name(key): channels[key].astype(types[input_name(key)], copy=False) for key in keys}
    return graph.run(None, feeds)[0]


def _affine(*, offset: list[float], scale: list[float]) -> Affine:
    return Affine(np.array(offset, np.float32), np.array(scale, np.float32))


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
