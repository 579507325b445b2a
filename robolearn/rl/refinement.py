"""What fine-tuning put on top of a base policy: kind and sizes in one JSON file, weights in a safetensors file beside.

A kind of refinement is a module with `rebuild(settings, policy, units) -> Rebuilt`. The residual has files of its own.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file
from torch import nn

from robolearn.acting import Acting
from robolearn.errors import UserError, nearest
from robolearn.protocols import Policy
from robolearn.rl import correction
from robolearn.rl.correction import load_residual, read_weights
from robolearn.rl.units import Units

SETTINGS, WEIGHTS = "refinement.json", "refinement.safetensors"
RESIDUAL = "residual"
# the module of each other kind; imported when a folder of that kind is read
KINDS = {
    "best_of": "robolearn.rl.best_of",
    "fql": "robolearn.rl.fql",
    "ibrl": "robolearn.rl.ibrl",
    "noise_steering": "robolearn.rl.noise_steering",
    "rlpd": "robolearn.rl.rlpd",
}


class Rebuilt(NamedTuple):
    """A refinement before its weights are read.

    Attributes:
        network: what they go into.
        acting: who acts with it.
    """

    network: nn.Module
    acting: Acting


def save_refinement(folder: Path, kind: str, settings: Mapping[str, Any], network: nn.Module) -> None:
    """Write a refinement beside the policy in `folder`.

    Args:
        folder: of the policy.
        kind: a key of `KINDS`.
        settings: what `rebuild` of its module needs, plain data.
        network: its weights.
    """
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / WEIGHTS)
    (folder / SETTINGS).write_text(json.dumps({"kind": kind, **settings}) + "\n")


def refinement_kind(folder: Path) -> str | None:
    """What lies on top of the policy in `folder`: `RESIDUAL`, a key of `KINDS`, or None where the policy is alone.

    Raises:
        UserError: it is of a kind that is not known.
    """
    if (folder / SETTINGS).exists():
        kind = str(json.loads((folder / SETTINGS).read_text()).get("kind"))
        if kind not in KINDS:
            raise UserError(f"{folder / SETTINGS} is of kind '{kind}'{nearest(kind, KINDS)}")
        return kind
    return RESIDUAL if (folder / correction.SIZES).exists() else None


def load_refinement(folder: Path, policy: Policy, units: Units, *, candidates: int | None = None) -> Acting:
    """Read who acts: the policy, with what a folder has on top of it.

    Args:
        folder: of the policy.
        policy: that lies there.
        units: of the policy's channels.
        candidates: chunks from which a critic chooses, where one does; as saved when None.

    Raises:
        UserError: the weights are not those of the sizes beside them, or nothing chooses between candidates.
    """
    kind = refinement_kind(folder)
    settings = json.loads((folder / SETTINGS).read_text()) if kind in KINDS else {}
    if candidates is not None:
        if "candidates" not in settings:
            raise UserError(
                f"candidates={candidates} needs a critic that chooses between them, and {folder} has none: "
                "give a checkpoint of algo=value_guided or algo=chunked_td, or leave candidates out"
            )
        settings["candidates"] = candidates
    if kind is None or kind == RESIDUAL:
        return Acting(policy, load_residual(folder, units))
    rebuilt: Rebuilt = importlib.import_module(KINDS[kind]).rebuild(settings, policy, units)
    read_weights(rebuilt.network, folder / WEIGHTS, sizes=SETTINGS)
    return rebuilt.acting
