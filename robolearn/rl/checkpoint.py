"""Checkpoints of online RL: networks, optimisers and replay as safetensors, counters as JSON; written atomically."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from robolearn.errors import UserError

if TYPE_CHECKING:
    from robolearn.rl.online import OnlineTrainer

NETWORKS = ("actor", "critic", "actor_target", "critic_target", "best_actor")
OPTIMIZERS = ("actor_optimizer", "critic_optimizer")


def save_checkpoint(trainer: OnlineTrainer, out: Path) -> None:
    """Write `checkpoint/` in `out`: the old one stays whole until the new one is."""
    new = out / "checkpoint.new"
    new.mkdir(parents=True, exist_ok=True)
    save_file(_tensors(trainer), new / "learner.safetensors")
    save_arrays({k: np.ascontiguousarray(v) for k, v in trainer.replay.state().items()}, new / "replay.safetensors")
    counters = {
        "steps": trainer.steps,
        "episodes": trainer.episodes,
        "updates": trainer._updates,
        "outcomes": trainer._outcomes[-100:],
        "curve": trainer.curve,
    }
    (new / "counters.json").write_text(json.dumps(counters))
    _swap(new, out / "checkpoint")


def _swap(new: Path, current: Path) -> None:
    old = current.with_suffix(".old")
    if current.exists():  # else a kill came between the two renamings, and `old` is the only one with a name
        _remove(old)
        os.replace(current, old)
    os.replace(new, current)
    _remove(old)


def _remove(folder: Path) -> None:
    if folder.exists():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def load_checkpoint(trainer: OnlineTrainer, out: Path) -> bool:
    """Restore the newest whole checkpoint in `out`; return whether there was one.

    Raises:
        UserError: the checkpoint is of networks with other sizes.
    """
    folder = next((f for f in (out / "checkpoint", out / "checkpoint.old") if (f / "counters.json").exists()), None)
    if folder is None:
        return False
    try:
        _restore(trainer, load_file(folder / "learner.safetensors"))
    except (RuntimeError, KeyError) as error:
        raise UserError(f"the checkpoint in {out} is of another network: give another `out`, or fresh=true") from error
    trainer.replay.restore(load_arrays(folder / "replay.safetensors"))
    counters: dict[str, Any] = json.loads((folder / "counters.json").read_text())
    trainer.steps, trainer.episodes = counters["steps"], counters["episodes"]
    trainer._updates, trainer._outcomes, trainer.curve = counters["updates"], counters["outcomes"], counters["curve"]
    return True


def _tensors(trainer: OnlineTrainer) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {"generator": trainer.learner.generator.get_state()}
    for name in NETWORKS:
        module = getattr(trainer.learner, name)
        tensors |= {f"{name}.{key}": value.contiguous() for key, value in module.state_dict().items()}
    for name in OPTIMIZERS:
        for index, entry in getattr(trainer.learner, name).state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": value.contiguous() for key, value in entry.items()}
    return tensors


def _restore(trainer: OnlineTrainer, tensors: dict[str, torch.Tensor]) -> None:
    trainer.learner.generator.set_state(tensors["generator"])
    for name in NETWORKS:
        prefix = f"{name}."
        weights = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        getattr(trainer.learner, name).load_state_dict(weights)
    for name in OPTIMIZERS:
        optimizer = getattr(trainer.learner, name)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"{name}."):
                _, index, field = key.split(".")
                state.setdefault(int(index), {})[field] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
