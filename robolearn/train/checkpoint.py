"""State of a training run in one safetensors file: tensors in groups, everything else as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from robolearn.data.files import replacing
from robolearn.errors import UserError

Groups = dict[str, dict[str, Tensor]]


def save_checkpoint(path: Path, groups: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Write atomically.

    Args:
        path: the file.
        groups: tensors by group and name; group names have no slash.
        state: JSON data.
    """
    tensors = {f"{group}/{name}": t.contiguous() for group, named in groups.items() for name, t in named.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"state": json.dumps(state)})


def load_checkpoint(path: Path) -> tuple[Groups, dict[str, Any]]:
    """Read what `save_checkpoint` wrote.

    Raises:
        UserError: the file is no checkpoint of this program.
    """
    groups: Groups = {}
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            for key in file.keys():  # noqa: SIM118 (not a mapping)
                group, name = key.split("/", 1)
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not a training checkpoint: delete it to start again") from error
    return groups, state


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as named tensors, numbered like its parameters."""
    states = optimizer.state_dict()["state"]
    return {f"{i}/{name}": tensor for i, values in states.items() for name, tensor in values.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo `optimizer_tensors`; the hyperparameters stay those of `optimizer`."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        i, name = key.split("/", 1)
        states.setdefault(int(i), {})[name] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def require_same_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, path: Path) -> None:
    """Check names and shapes of a model's tensors.

    Raises:
        UserError: naming the first tensor that differs.
    """
    for name in expected.keys() | found.keys():
        a, b = (tuple(d[name].shape) if name in d else "absent" for d in (found, expected))
        if a != b:
            raise UserError(
                f"{path} is a checkpoint of another policy: '{name}' is {a} there but {b} here; delete it or give "
                "another output folder"
            )
