"""Supervised training of any policy whose `forward(batch)` returns its loss; killed at any point, it resumes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.train.checkpoint import (
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    require_same_tensors,
    save_checkpoint,
)
from robolearn.train.ema import EMA

CHECKPOINT = "checkpoint.safetensors"
CURVE_POINTS = 200

Batches = Callable[[int], Mapping[str, NDArray[Any] | Tensor]]
OnStep = Callable[[int, float, float], None]
Evaluate = Callable[[int], Mapping[str, float]]


class Trainable(Protocol):
    """A `torch.nn.Module` with LeRobot's training face."""

    def __call__(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Return the loss of a batch, and figures to log."""

    def get_optim_params(self) -> Any:
        """Return parameters or parameter groups."""


def train(
    policy: Trainable,
    batches: Batches,
    *,
    steps: int,
    out: Path,
    learning_rate: float = 1e-3,
    warmup: int = 200,
    weight_decay: float = 1e-4,
    ema_decay: float = 0.999,
    grad_clip: float = 1.0,
    seed: int = 0,
    save_every: int = 2000,
    on_step: OnStep | None = None,
    evaluate: Evaluate | None = None,
    evaluate_every: int | None = None,
) -> dict[str, Any]:
    """Train with AdamW, linear warm-up and cosine decay; at the end the policy has the averaged weights.

    With the same arguments and data, a run that was killed and started again ends with exactly the weights of one that
    was not.

    Args:
        policy: the policy, an `nn.Module`; initialised by the caller.
        batches: from the step (0, 1, ...) to its batch, depending on nothing else; arrays or tensors, normalised.
        steps: number of updates.
        out: folder of the checkpoint; if it holds one, training goes on from there.
        learning_rate: peak of the schedule.
        warmup: steps over which the learning rate rises from zero.
        weight_decay: of AdamW.
        ema_decay: of the weights' moving average.
        grad_clip: largest norm of the gradient.
        seed: of the noise that the policy draws from torch's generator.
        save_every: steps between checkpoints; the last step is always saved.
        on_step: called after each step with (steps done, loss, learning rate).
        evaluate: called with the steps done while the policy has its averaged weights and is in evaluation mode; its
            figures are kept. It cannot disturb the training's random numbers.
        evaluate_every: steps between evaluations; there is one at the end in any case.

    Returns:
        "steps", "seconds", "steps_per_s", "loss" (mean over the last part of the curve), "curve" [[steps, mean loss]]
        and "evaluations" [[steps, figures]].

    Raises:
        UserError: the loss is not finite, or the checkpoint is of another policy or of a run with other settings.
    """
    settings = {
        "steps": steps,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "weight_decay": weight_decay,
        "ema_decay": ema_decay,
        "grad_clip": grad_clip,
        "seed": seed,
    }
    run = _Run(policy, settings, Path(out) / CHECKPOINT)
    began = time.perf_counter() - run.state["seconds"]
    while run.state["step"] < steps:
        loss, rate = run.update(batches(run.state["step"]))
        step = run.state["step"]
        if on_step is not None:
            on_step(step, loss, rate)
        if evaluate is not None and (step == steps or (evaluate_every and step % evaluate_every == 0)):
            run.evaluate(evaluate)
        if step == steps or step % save_every == 0:
            run.state["seconds"] = time.perf_counter() - began
            run.save()
    run.ema.copy_to_model()
    run.model.eval()
    curve, seconds = run.state["curve"], run.state["seconds"]
    return {
        "steps": steps,
        "seconds": seconds,
        "steps_per_s": steps / seconds if seconds > 0 else math.inf,
        "loss": curve[-1][1] if curve else math.nan,
        "curve": curve,
        "evaluations": run.state["evaluations"],
    }


def learning_rate_at(step: int, *, steps: int, peak: float, warmup: int) -> float:
    """Return the learning rate of update `step` (0, 1, ...): linear rise over `warmup`, then half a cosine to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


class _Run:
    """Everything that changes while training; `save` and `_resume` are each other's inverse."""

    def __init__(self, policy: Trainable, settings: dict[str, Any], path: Path) -> None:
        if not isinstance(policy, nn.Module):
            raise TypeError("the policy must be a torch.nn.Module")
        self.model: nn.Module = policy
        self.settings = settings
        self.path = path
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            policy.get_optim_params(), lr=0.0, weight_decay=settings["weight_decay"], fused=True
        )
        self.ema = EMA(self.model, decay=settings["ema_decay"])
        # "recent": sum and number of the losses since the last point of the curve
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0, "curve": [], "recent": [0.0, 0], "evaluations": []}
        torch.manual_seed(settings["seed"])
        self.model.train()
        if path.exists():
            self._resume()

    def update(self, batch: Mapping[str, NDArray[Any] | Tensor]) -> tuple[float, float]:
        step = self.state["step"]
        rate = learning_rate_at(
            step,
            steps=self.settings["steps"],
            peak=self.settings["learning_rate"],
            warmup=self.settings["warmup"],
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        tensors = {key: torch.from_numpy(x) if isinstance(x, np.ndarray) else x for key, x in batch.items()}
        loss, _ = self.model(tensors)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.settings["grad_clip"])
        value = loss.item()
        if not math.isfinite(value):
            raise UserError(
                f"the loss is {value} at step {step}: lower the learning rate or look for outliers in the data"
            )
        self.optimizer.step()
        self.ema.update()
        self._record(value)
        return value, rate

    def evaluate(self, evaluate: Evaluate) -> None:
        self.model.eval()
        with self.ema.applied(), torch.random.fork_rng():
            figures = dict(evaluate(self.state["step"]))
        self.model.train()
        self.state["evaluations"].append([self.state["step"], figures])

    def save(self) -> None:
        groups = {
            "model": self.model.state_dict(),
            "ema": self.ema.average,
            "optimizer": optimizer_tensors(self.optimizer),
            "random": {"torch": torch.get_rng_state()},
        }
        state = {**self.state, "settings": self.settings, "ema_updates": self.ema.updates}
        save_checkpoint(self.path, groups, state)

    def _record(self, loss: float) -> None:
        state = self.state
        state["step"] += 1
        state["recent"][0] += loss
        state["recent"][1] += 1
        every = max(1, self.settings["steps"] // CURVE_POINTS)
        if state["step"] % every == 0 or state["step"] == self.settings["steps"]:
            state["curve"].append([state["step"], state["recent"][0] / state["recent"][1]])
            state["recent"] = [0.0, 0]

    def _resume(self) -> None:
        groups, state = load_checkpoint(self.path)
        before = state.pop("settings", {})
        for name, value in self.settings.items():
            if before.get(name) != value:
                raise UserError(
                    f"{self.path} is of a run with {name}={before.get(name)}, not {value}: give another output folder, "
                    "or delete the checkpoint to train anew"
                )
        require_same_tensors(groups.get("model", {}), self.model.state_dict(), path=self.path)
        self.model.load_state_dict(groups["model"])
        self.ema.load(groups["ema"], updates=state.pop("ema_updates"))
        load_optimizer_tensors(self.optimizer, groups["optimizer"])
        torch.set_rng_state(groups["random"]["torch"])
        self.state = state
