"""Write a bundle: ONNX graphs, the contract (schema, robot, statistics) and a manifest with checksums.

`robolearn.real.bundle` reads it without torch. Graph contracts, float32 but for pictures, with a dynamic batch:

- `encoder.onnx`: each observation channel [B, n_obs_steps, ...], normalised, pictures uint8 as the camera gives them;
  output `observed` [B, D]. Inputs are named as the channels with "." replaced by "_". Runs once per chunk. Of a policy
  that reads an instruction it also has the input `task`, int64 [B, words, pieces]: what `robolearn.language.Tokenizer`
  makes of it.
- `denoiser.onnx`: `observed` [B, D]; `sample` [B, horizon, A]; `time` [B]; for the sampler "shortcut" also `step` [B];
  output `prediction` [B, horizon, A]: what the sampler's model returns (see `robolearn.sampling`), or
  [1 + N, B, horizon, A] for a mixture of N horizons, the fused one first. Runs at every step of the sampler.
- `guided.onnx`, if the policy's description says "guided": like the denoiser of a flow, for real-time chunking, which
  has a batch of 1. Two more inputs: `target` [1, horizon, A], `mask` [1, horizon]; outputs `velocity`, of mixtures that
  of the fused horizon, and `pull`, both [1, horizon, A]: see `robolearn.export.guided`.
- `policy.onnx` in place of both, for a policy without a sampler: each observation channel [B, n_obs_steps, ...] in
  physical units, and `noise` [B, *noise_shape] if it draws any; output `chunk` [B, horizon, A], in physical units too.

What lies on top of the policy, if anything, is one more graph, named in the manifest as "on_top": {"kind": ...} with
what else it needs. Inputs are the newest frame of each observation channel, normalised, [B, dim], and one more:

- `correction.onnx`: `base_action` [B, A], normalised; output `action` [B, A], the one to execute in its place: a
  residual added (Silver et al., 2018; Johannink et al., 2019), or the better of two actions.
- `steering.onnx`: `noise` [B, n], as the policy would draw it; output `steered` [B, n], what it starts from instead.
- `critic.onnx`: `chunk` [B, n_action_steps * A], normalised; output `value` [B, 1]. Of "candidates" chunks that of the
  highest value is executed, or a draw by the softmax at "temperature".

A bundle may also hold a progress estimator, described in the manifest as "monitor" with the settings of
`robolearn.monitoring` and what `robolearn.rewards.recurrent.graph.describe` says:

- `monitor.onnx`: one step of it, with a batch of 1. Inputs `memory`, `begun` and `count` are its state, zeros at the
  beginning of an episode, and come back as `next_memory` ...; `task` are the instruction's tokens; and each channel
  [1, ...] is in physical units. Outputs `stages` [1, K + 1], `progress` [1] and, if it tells any, `kinds`
  [1, 1 + kinds].

A policy that normalises in its own way has "units" in its description: its encoder takes physical units, and the action
is units["offset"] + units["scale"] * sample. "past" counts the sampled actions that lie before the present. "language"
has the parameters of the tokeniser of a policy that reads an instruction, and is null for others.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import math
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import robolearn
from robolearn.acting import Correction
from robolearn.bundle_format import (
    COLLISION,
    DENOISER,
    ENCODER,
    FORMAT,
    GUIDED,
    MONITOR,
    NOISE,
    ON_TOP,
    TOLD,
    WHOLE,
    denoiser_inputs,
    guided_inputs,
    input_name,
    monitor_outputs,
    on_top_graph,
)
from robolearn.errors import UserError
from robolearn.export.guided import GuidedGraph, require_same, traced
from robolearn.language import Tokenizer
from robolearn.normalize import Normalizer, Statistics
from robolearn.protocols import Observation, Policy
from robolearn.robot import RobotSpec
from robolearn.schema import Feature, Schema

POLICY_FIELDS = ("kind", "horizon", "n_action_steps", "n_obs_steps", "noise_shape", "sampler")
TASK_FIELDS = ("name", "instruction", "max_episode_steps", "stage_names")


def export_bundle(
    out: Path,
    *,
    schema: Schema,
    robot: RobotSpec,
    action_space: str,
    statistics: Statistics,
    task: Mapping[str, Any],
    policy: Mapping[str, Any],
    encoder: torch.nn.Module,
    denoiser: torch.nn.Module | None,
    on_top: tuple[str, torch.nn.Module, Mapping[str, Any]] | None,
    config_yaml: str,
    provenance: Mapping[str, Any],
    collision: str | None = None,
    monitor: tuple[torch.nn.Module, Mapping[str, torch.Tensor], Mapping[str, Any]] | None = None,
) -> Path:
    """Write a bundle folder, in one piece: it appears at `out` only when it is complete.

    Args:
        out: folder to write; an older bundle there is replaced.
        schema: channels; only observations and the action are kept.
        robot: whose joints the actions move.
        action_space: name, one of `robolearn.action_space.ACTION_SPACES`.
        statistics: {channel: {"mean", "std", ...}}, as the normaliser wants them.
        task: name, instruction, max_episode_steps, stage_names.
        policy: kind, horizon, n_action_steps, n_obs_steps, noise_shape, sampler (see `robolearn.sampling.sample`); for
            a mixture also horizons (their lengths) and consensus (arguments of `robolearn.sampling.agreed_steps`);
            guided, whether a flow also gets the graph for real-time chunking; see the module for units, past and
            language.
        encoder: called as encoder(obs_1, ...); see the module for shapes. The whole policy where the sampler is None.
        denoiser: called as denoiser(observed, sample, time[, step]); None where the sampler is.
        on_top: kind, one of `robolearn.bundle_format.ON_TOP`; module, called as module(obs_1, ..., further); and what
            else the reader needs. None where the policy acts alone.
        config_yaml: the resolved configuration of the run.
        provenance: free information, e.g. commit, dataset, success rates.
        collision: shape of arm and table, as `robolearn.sim.collision` writes it; without it the control node refuses
            to run with a collision check.
        monitor: module, its inputs by name, and the description of a progress estimator; None leaves it out.

    Returns:
        `out`.

    Raises:
        UserError: if a field is missing, a channel lacks statistics or `out` is something else than a bundle.
    """
    _require_fields("task", task, TASK_FIELDS)
    _require_fields("policy", policy, POLICY_FIELDS)
    if out.exists() and not (out / "manifest.json").is_file():
        raise UserError(f"{out} exists and is no bundle: choose another folder")
    kept = schema.select((*schema.observation_keys, "action"))
    Normalizer(kept, statistics)  # says which channel lacks statistics
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        kept.save(temporary / "schema.json")
        _write_json(temporary / "robot.json", robot.to_dict())
        _write_json(temporary / "stats.json", {key: statistics[key] for key in kept if key in statistics})
        (temporary / "config.yaml").write_text(config_yaml)
        if collision is not None:
            (temporary / COLLISION).write_text(collision)
        if denoiser is None:
            _export_encoder(temporary / WHOLE, encoder, kept, policy, output="chunk")
        else:
            observed = _export_encoder(temporary / ENCODER, encoder, kept, policy, output="observed")
            inputs = _denoiser_example(kept, policy, observed=observed)
            _export(temporary / DENOISER, denoiser, inputs, "prediction")
            if policy.get("guided"):
                _export_guided(temporary / GUIDED, denoiser, inputs, policy)
        if on_top is not None:
            _export_on_top(temporary, on_top[0], on_top[1], kept, policy)
        if monitor is not None:
            module, given, described = monitor
            with _inference(module):
                _to_onnx(
                    temporary / MONITOR, module.cpu(), dict(given), list(monitor_outputs(described["kinds"])), None
                )
        files = {path.name: sha256(path) for path in sorted(temporary.iterdir())}
        manifest = {
            "format": FORMAT,
            "robolearn": robolearn.__version__,
            "task": dict(task),
            "action_space": action_space,
            "policy": dict(policy),
            "on_top": None if on_top is None else {"kind": on_top[0], **on_top[2]},
            "monitor": None if monitor is None else dict(monitor[2]),
            "files": files,
            "provenance": dict(provenance),
        }
        _write_json(temporary / "manifest.json", manifest)
        temporary.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def check_parity(
    a: Policy, b: Policy, observations: Observation, *, atol: float = 1e-4, rng: np.random.Generator | None = None
) -> float:
    """Compare two policies on the same observations and the same noise.

    Args:
        a: e.g. the torch policy.
        b: e.g. the bundle's policy.
        observations: arrays [n, n_obs_steps, *shape] by channel, in physical units; "task" [n] where it is read.
        atol: largest difference allowed, as a share of each action component's half range.
        rng: draws the noise.

    Returns:
        The largest absolute difference over the chunks [n, horizon, action_dim], as a share of the half range.

    Raises:
        UserError: if it is above `atol`, or the two disagree about schema or noise.
    """
    a.schema.select((*a.schema.observation_keys, "action")).require_same(
        b.schema.select((*b.schema.observation_keys, "action")), what="the second policy"
    )
    if a.noise_shape != b.noise_shape or a.horizon != b.horizon:
        raise UserError(
            f"the policies differ: noise {a.noise_shape} and {b.noise_shape}, horizon {a.horizon} and {b.horizon}"
        )
    count = len(observations[a.schema.observation_keys[0]])
    noise = None
    if a.noise_shape is not None:
        generator = np.random.default_rng(0) if rng is None else rng
        noise = generator.standard_normal((count, *a.noise_shape), np.float32)
    pair = [policy.predict_chunk(observations, noise).values for policy in (a, b)]
    return _require_close(pair[0], pair[1], a.schema, atol, "chunks")


def check_correction_parity(
    a: Correction,
    b: Correction,
    schema: Schema,
    observations: Observation,
    base_actions: NDArray[np.float32],
    *,
    atol: float = 1e-4,
) -> float:
    """Compare two corrections on observations [n, *shape] and base actions [n, action_dim]; see `check_parity`."""
    return _require_close(a(observations, base_actions), b(observations, base_actions), schema, atol, "corrections")


def sha256(path: Path) -> str:
    """Checksum of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _require_close(x: NDArray[Any], y: NDArray[Any], schema: Schema, atol: float, what: str) -> float:
    half = (np.array(schema.action.high) - np.array(schema.action.low)) / 2
    largest = float(np.max(np.abs(x - y) / half))
    if not largest <= atol:  # a NaN is no match either
        raise UserError(
            f"exported and original {what} differ by {largest:.2g} of the action range (allowed {atol:.2g}): "
            "the bundle would not act as the policy that was evaluated; export again or report a bug"
        )
    return largest


def _require_fields(what: str, data: Mapping[str, Any], fields: tuple[str, ...]) -> None:
    if missing := [field for field in fields if field not in data]:
        raise UserError(f"the bundle's {what} lacks '{missing[0]}'")


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    # arrays, tensors and NumPy scalars all know `tolist`
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value)} is no JSON data")


def _export_encoder(
    path: Path, module: torch.nn.Module, schema: Schema, policy: Mapping[str, Any], *, output: str
) -> int:
    """Write the graph and return the width of what it gives."""
    inputs = {}
    for key in schema.observation_keys:
        inputs[input_name(key)] = _example(schema[key], 2, policy["n_obs_steps"])
    if (language := policy.get("language")) is not None:
        inputs[TOLD] = torch.from_numpy(Tokenizer(**language)(["put it there", "lift it"]))
    if policy["sampler"] is None and policy["noise_shape"]:
        inputs[NOISE] = torch.zeros(2, *policy["noise_shape"])
    return _export(path, module, inputs, output).shape[1]


def _denoiser_example(schema: Schema, policy: Mapping[str, Any], *, observed: int) -> dict[str, torch.Tensor]:
    shapes = {"observed": (observed,), "sample": (policy["horizon"] + policy.get("past", 0), *schema.action.shape)}
    return {name: torch.zeros(2, *shapes.get(name, ())) for name in denoiser_inputs(policy["sampler"])}


def _export_guided(
    path: Path, denoiser: torch.nn.Module, inputs: Mapping[str, torch.Tensor], policy: Mapping[str, Any]
) -> None:
    sample = inputs["sample"]
    towards = {"target": torch.zeros_like(sample), "mask": torch.zeros(sample.shape[:2])}
    one = {name: {**inputs, **towards}[name][:1] for name in guided_inputs(policy["sampler"])}
    module = GuidedGraph(denoiser, mixed=bool(policy.get("horizons")))
    with _inference(denoiser):
        _to_onnx(path, traced(module, tuple(one.values())), one, ["velocity", "pull"], None)
        require_same(path, module, one)


def _export_on_top(folder: Path, kind: str, module: torch.nn.Module, schema: Schema, policy: Mapping[str, Any]) -> None:
    given, output = ON_TOP[kind]
    action_dim = schema.action.shape[0]
    widths = {
        "base_action": action_dim,
        "noise": math.prod(policy["noise_shape"] or ()),
        "chunk": policy["n_action_steps"] * action_dim,
    }
    inputs = {input_name(key): _example(schema[key], 2) for key in schema.observation_keys}
    _export(folder / on_top_graph(kind), module, inputs | {given: torch.zeros(2, widths[given])}, output)


def _example(feature: Feature, *lead: int) -> torch.Tensor:
    dtype = torch.uint8 if feature.is_picture else torch.float32
    return torch.zeros(*lead, *feature.shape, dtype=dtype)


def _export(path: Path, module: torch.nn.Module, inputs: dict[str, torch.Tensor], output: str) -> torch.Tensor:
    """Write the graph and return what the module makes of the example inputs."""
    with _inference(module):
        result: torch.Tensor = module.cpu()(*inputs.values())
        _to_onnx(path, module, inputs, [output], _dynamic_batch(module, len(inputs)))
    return result


def _to_onnx(
    path: Path, module: torch.nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str], shapes: Any
) -> None:
    torch.onnx.export(
        module,
        tuple(inputs.values()),
        path,
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes=shapes,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


@contextmanager
def _inference(module: torch.nn.Module) -> Iterator[None]:
    """Have the module infer, and the exporter be quiet, for a while."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad(), warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript"):
            warnings.simplefilter("ignore")
            yield
    finally:
        module.train(training)


def _dynamic_batch(module: torch.nn.Module, count: int) -> tuple[Any, ...]:
    """A free first axis for each of `count` inputs, nested as the module's parameters are."""
    batch = torch.export.Dim("batch", min=1)
    shapes: list[Any] = [{0: batch} for _ in range(count)]
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
        return (*shapes[:named], tuple(shapes[named:]))
    return tuple(shapes)


class _quiet:  # noqa: N801 (used like a function)
    """Keep loggers to errors for a while."""

    def __init__(self, *names: str) -> None:
        self._loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
