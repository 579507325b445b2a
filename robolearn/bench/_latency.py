"""Policies that `robolearn bench train` asks for a chunk: from observations to actions, in physical units."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from robolearn.bench._lerobot import DDIM, act_config, diffusion_config, make
from robolearn.eval.metrics import percentiles
from robolearn.eval.results import Measure

if TYPE_CHECKING:
    from robolearn.data.dataset import EpisodeDataset

PRESETS = (
    "diffusion",
    "diffusion_dit",
    "diffusion_moh",
    "flow",
    "flow_dit",
    "flow_moh",
    "flow_shortcut",
)
N_OBS_STEPS, HORIZON, N_ACTION_STEPS = 2, 16, 8
AGAINST = "lerobot.diffusion_ddim_10"  # as many steps as our presets take
SPREAD = 0.02  # deviation added to fresh weights: as of trained ones, none of them is zero
Call = Callable[[], object]
Times = dict[str, list[list[float]]]


def contenders(data: EpisodeDataset, folder: Path, progress: Callable[[str], None]) -> dict[str, Call]:
    """Every policy by its name: "torch.NAME" and "onnx.NAME" for ours, "lerobot.NAME" for LeRobot's.

    Args:
        data: channels and statistics; its first frames are what the policies see.
        folder: where bundles are written.
        progress: told what is being exported.
    """
    seen = {key: data.channels[key][None, :N_OBS_STEPS] for key in data.schema.observation_keys}
    calls: dict[str, Call] = {}
    for name in PRESETS:
        progress(f"exporting {name}")
        calls |= _ours(name, data, folder / name, seen)
    return calls | _theirs(data, seen)


def times_in_turns(
    calls: Mapping[str, Call], *, rounds: int, seconds: float, at_least: int, progress: Callable[[str], None]
) -> Times:
    """Seconds of every call by name and round, after a first one that does not count.

    Args:
        calls: the contenders.
        rounds: turns of each.
        seconds: of a turn, at least.
        at_least: calls of a turn.
        progress: told of every round.
    """
    times: Times = {name: [] for name in calls}
    for call in calls.values():
        call()
    for i in range(rounds):
        for name, call in calls.items():
            times[name].append(_turn(call, seconds=seconds, at_least=at_least))
        progress(f"latency, round {i + 1}/{rounds}")
    return times


def measures(times: Times) -> list[Measure]:
    """Median and 99th percentile of each contender; of ours, beside LeRobot's diffusion."""
    return [measure for name in times for measure in _measures(name, times)]


def _measures(name: str, times: Times) -> list[Measure]:
    ours, theirs = ([1e3 * median(spent) for spent in times[n]] for n in (name, AGAINST))
    tail, their_tail = (percentiles([1e3 * t for spent in times[n] for t in spent])["p99"] for n in (name, AGAINST))
    other = name.startswith("lerobot.")
    return [
        Measure(f"chunk_ms.{name}", median(ours), "ms", None if other else median(theirs), (min(ours), max(ours))),
        Measure(f"chunk_ms_p99.{name}", tail, "ms", None if other else their_tail),
    ]


def _turn(call: Call, *, seconds: float, at_least: int) -> list[float]:
    spent: list[float] = []
    while len(spent) < at_least or sum(spent) < seconds:
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return spent


def _ours(name: str, data: EpisodeDataset, folder: Path, seen: dict[str, NDArray[Any]]) -> dict[str, Call]:
    """A preset in torch, and as the bundle that is exported from it."""
    import torch

    from robolearn.commands.export import export
    from robolearn.commands.train import build as build_policy
    from robolearn.compose import build, compose
    from robolearn.policies.serving import TorchPolicy, save_policy
    from robolearn.real.bundle import load_bundle

    config = build("train", compose("train", [f"policy={name}", f"policy.n_obs_steps={N_OBS_STEPS}", "dataset=none"]))
    torch.manual_seed(0)
    policy = TorchPolicy(_spread(build_policy(config.policy, data.schema)), data.schema, data.statistics)
    save_policy(folder / "policy", policy)
    export(config.task, config.robot, checkpoint=folder / "policy", out=folder / "bundle", config_yaml="", notes={})
    bundled = load_bundle(folder / "bundle").policy
    return {f"torch.{name}": lambda: policy.predict_chunk(seen), f"onnx.{name}": lambda: bundled.predict_chunk(seen)}


def _theirs(data: EpisodeDataset, seen: dict[str, NDArray[Any]]) -> dict[str, Call]:
    """LeRobot's policies with their own processors, as its evaluation calls them."""
    sizes = {"horizon": HORIZON, "n_action_steps": N_ACTION_STEPS}
    history = sizes | {"n_obs_steps": N_OBS_STEPS}
    newest = {key: frames[:, -1] for key, frames in seen.items()}
    return {
        AGAINST: _their_call(diffusion_config(data.schema, **history, **DDIM), data.root, seen),
        "lerobot.diffusion_ddpm_100": _their_call(diffusion_config(data.schema, **history), data.root, seen),
        "lerobot.act": _their_call(act_config(data.schema, **sizes), data.root, newest),
    }


def _their_call(config: Any, root: Path, seen: dict[str, NDArray[Any]]) -> Call:
    import torch

    built = make(config, root)
    policy = _spread(built.policy).eval()

    def call() -> object:
        with torch.inference_mode():
            batch = built.before({key: torch.from_numpy(frames) for key, frames in seen.items()})
            kept = {key: batch[key] for key in seen}
            return built.after(policy.predict_action_chunk(kept)).numpy()

    return call


def _spread(policy: Any) -> Any:
    import torch

    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(SPREAD * torch.randn_like(parameter))
    return policy
