"""Checkpoints of online RL: networks and optimisers as safetensors, counters as JSON; written atomically.

The episodes are not in them: they are written when they end, by `robolearn.data.journal`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from robolearn.data.files import replacing
from robolearn.errors import UserError

if TYPE_CHECKING:
    from robolearn.rl.online import Learner

FILE = "checkpoint.safetensors"


@dataclass
class Learned:
    """What a training remembers besides its networks.

    Attributes:
        best: weights of the actor that did best when evaluated.
        seconds: that the training took so far, evaluations included.
        cpu_seconds: of this process within them.
    """

    best: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    _since: tuple[float, float] = (0.0, 0.0)

    def start_clock(self) -> None:
        """Time passes from now on."""
        self._since = time.perf_counter(), time.process_time()

    def read_clock(self) -> dict[str, float]:
        """Add what has passed; return "seconds" and "cpu_seconds" so far."""
        before = self._since
        self.start_clock()
        self.seconds += self._since[0] - before[0]
        self.cpu_seconds += self._since[1] - before[1]
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}


def save_checkpoint(algorithm: Learner, learned: Learned, curve: list[dict[str, float]], out: Path) -> None:
    """Write the checkpoint in `out`: the old one stays whole until the new one is."""
    out.mkdir(parents=True, exist_ok=True)
    counters = {
        "steps": algorithm.clock.steps,
        "updates": algorithm.clock.updates,
        "seconds": learned.seconds,
        "cpu_seconds": learned.cpu_seconds,
        "curve": curve,
    }
    with replacing(out / FILE) as path:
        save_file(_tensors(algorithm, learned), path, {"counters": json.dumps(counters)})


def load_checkpoint(algorithm: Learner, learned: Learned, out: Path) -> list[dict[str, float]] | None:
    """Restore what `save_checkpoint` wrote in `out`; return the curve, or None where there is none.

    Raises:
        UserError: the checkpoint is of other networks.
    """
    if not (out / FILE).exists():
        return None
    with safe_open(out / FILE, "pt") as file:
        counters = json.loads(file.metadata()["counters"])
    tensors = load_file(out / FILE)
    try:
        _restore(algorithm, tensors)
    except (RuntimeError, KeyError) as error:
        raise UserError(f"the checkpoint in {out} is of another network: give another `out`, or fresh=true") from error
    algorithm.clock.steps, algorithm.clock.updates = counters["steps"], counters["updates"]
    learned.best, learned.seconds = _below("best.", tensors), counters["seconds"]
    learned.cpu_seconds = counters["cpu_seconds"]
    curve: list[dict[str, float]] = counters["curve"]
    return curve


def _tensors(algorithm: Learner, learned: Learned) -> dict[str, Tensor]:
    tensors = {"generator": algorithm.generator.get_state()} | {f"best.{k}": v for k, v in learned.best.items()}
    for name, module in {"actor": algorithm.actor, **algorithm.modules}.items():
        # a network that two modules share is written twice
        tensors |= {f"{name}.{key}": value.clone().contiguous() for key, value in module.state_dict().items()}
    for name, optimizer in algorithm.optimizers.items():
        for index, entry in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{key}": value.contiguous() for key, value in entry.items()}
    return tensors


def _restore(algorithm: Learner, tensors: Mapping[str, Tensor]) -> None:
    algorithm.generator.set_state(tensors["generator"])
    for name, module in {"actor": algorithm.actor, **algorithm.modules}.items():
        module.load_state_dict(_below(f"{name}.", tensors))
    for name, optimizer in algorithm.optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(f"optimizer.{name}.", tensors).items():
            index, entry = key.split(".")
            state.setdefault(int(index), {})[entry] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
