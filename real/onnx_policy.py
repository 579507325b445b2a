"""A bundle's graphs as `Policy`, on ONNX Runtime with one thread: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from robolearn.bundle_format import (
    DENOISER,
    ENCODER,
    GUIDED,
    NOISE,
    TOLD,
    WHOLE,
    denoiser_inputs,
    guided_inputs,
    input_name,
)
from robolearn.errors import UserError
from robolearn.inpainting import Inpainting, Pull, sample_guided, soft_mask
from robolearn.language import Tokenizer, instructions_of
from robolearn.normalize import Affine, Normalizer
from robolearn.protocols import Observation
from robolearn.sampling import SAMPLERS, Model, agreed_steps, sample
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
        self._guided = open_graph(folder / GUIDED, guided_inputs(self._sampler)) if description.get("guided") else None
        self._rng = np.random.default_rng()

    def predict_chunk(self, observation: Observation, noise: Array | None = None, n_samples: int = 1) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`."""
        observed = np.repeat(self._encode(observation), n_samples, axis=0)
        start = self._start(noise, len(observed))
        if self._mixed:
            start = np.broadcast_to(start, (1 + self._mixed, *start.shape))
        chunks = sample(self._model(observed), start, self._sampler)
        chunks = chunks if self._mixed else chunks[None]
        if n_samples > 1:
            chunks = chunks.reshape(len(chunks), -1, n_samples, *chunks.shape[2:])
        n_valid = None if self._consensus is None else agreed_steps(chunks, **self._consensus)
        return ActionChunk(values=self._physical(chunks[0]), t0=0.0, dt=1.0 / self.schema.fps, n_valid=n_valid)

    def predict_guided(
        self, observation: Observation, noise: Array | None, *, left_over: Array, frozen: int, largest: float
    ) -> ActionChunk:
        """See `robolearn.inpainting.Inpainter.predict_guided`; exact where the bundle has a graph for it."""
        observed = self._encode(observation)
        overlap = min(left_over.shape[1], self.horizon)
        frozen = min(frozen, overlap)
        room = np.zeros((len(observed), self._past + self.horizon, left_over.shape[2]), np.float32)
        room[:, self._past : self._past + overlap] = self._action(left_over[:, :overlap])
        mask = np.zeros(self._past + self.horizon, np.float32)
        mask[self._past :] = soft_mask(frozen=frozen, overlap=overlap, horizon=self.horizon)
        towards = Inpainting(room, mask, largest)
        model, pull = self._model(observed, fused=True), self._pull(observed, towards)
        chunks = sample_guided(model, self._start(noise, len(observed)), self._sampler, towards, pull)
        values = self._physical(chunks)
        values[:, :frozen] = left_over[:, :frozen]
        return ActionChunk(values=values, t0=0.0, dt=1.0 / self.schema.fps)

    def _start(self, noise: Array | None, batch: int) -> Array:
        if noise is None:
            return self._rng.standard_normal((batch, *self.noise_shape), np.float32)  # type: ignore[misc]
        return noise.astype(np.float32, copy=False)

    def _model(self, observed: Array, *, fused: bool = False) -> Model:
        """What the sampler asks; of a mixture all horizons with the fused one first, or that one alone."""

        def model(x: Array, *scalars: float) -> Array:
            given = x if fused or not self._mixed else x[0]
            predicted = self._denoiser.run(None, self._feeds(observed, given, scalars))[0]
            return predicted[0] if fused and self._mixed else predicted

        return model

    def _pull(self, observed: Array, towards: Inpainting) -> Pull | None:
        graph = self._guided
        if graph is None:
            return None

        def pull(x: Array, *scalars: float) -> tuple[Array, Array]:
            pairs = []
            for i in range(len(x)):  # the graph is for one arm
                row = slice(i, i + 1)
                feeds = self._feeds(observed[row], x[row], scalars)
                pairs.append(graph.run(None, {**feeds, "target": towards.target[row], "mask": towards.mask[None]}))
            predicted, corrections = zip(*pairs, strict=True)
            return np.concatenate(predicted), np.concatenate(corrections)

        return pull

    def _feeds(self, observed: Array, x: Array, scalars: tuple[float, ...]) -> dict[str, Array]:
        named = zip(self._scalars, scalars, strict=True)
        return {
            "observed": observed,
            "sample": x,
            **{name: np.full(len(observed), value, np.float32) for name, value in named},
        }

    def _physical(self, chunks: Array) -> Array:
        return _clipped(self._action.inverse(chunks[..., self._past :, :]), self._low, self._high)

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
        values = _clipped(run_graph(self._graph, channels, self._read), self._low, self._high)
        if n_samples > 1:
            values = values.reshape(-1, n_samples, *values.shape[1:])
        return ActionChunk(values=values, t0=0.0, dt=1.0 / self.schema.fps)


def _clipped(values: Array, low: Array, high: Array) -> Array:
    """Within the action's bounds; what is infinite is no number there, for it is as wrong as that."""
    return np.where(np.isfinite(values), values, np.nan).clip(low, high)


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
