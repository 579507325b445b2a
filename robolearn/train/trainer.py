"""Supervised training of any policy whose `forward(batch)` returns its loss; killed at any point, it resumes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
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
from robolearn.train.feed import Batches, feed
from robolearn.train.gradient import Compute, Gradient
from robolearn.train.logs import Log, Meter

CHECKPOINT = "checkpoint.safetensors"
CURVE_POINTS = 200
LOG_EVERY = 50

OnStep = Callable[[int, float, float], None]
Evaluate = Callable[[int], Mapping[str, float]]
Keep = Callable[[str], None]


class Trainable(Protocol):
    """A `torch.nn.Module` with LeRobot's training face.

    For batches with "loss_weight" it must also take `reduction="none"` and return one loss per sample [B]. If it has a
    method `update`, that is called after each step, as LeRobot's trainer does, e.g. to let target networks follow.
    """

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
    compute: Compute | None = None,
    on_step: OnStep | None = None,
    evaluate: Evaluate | None = None,
    evaluate_every: int | None = None,
    keep: Keep | None = None,
    log: Log | None = None,
) -> dict[str, Any]:
    """Train with AdamW, linear warm-up and cosine decay; at the end the policy has the averaged weights.

    With the same arguments and data, a run that was killed and started again ends with exactly the weights of one that
    was not. Into how many parts and over how many processes batches are cut may change in between, and changes the
    result by rounding only.

    Args:
        policy: the policy, an `nn.Module`; initialised by the caller, the same in every process.
        batches: from the step (0, 1, ...) to its whole batch, depending on nothing else; arrays or tensors, normalised.
            "loss_weight" [B] says how much each sample's loss counts; see `robolearn.train.gradient.Gradient`.
        steps: number of updates.
        out: folder of the checkpoint; if it holds one, training goes on from there. Every process must see it.
        learning_rate: peak of the schedule.
        warmup: steps over which the learning rate rises from zero.
        weight_decay: of AdamW.
        ema_decay: of the weights' moving average.
        grad_clip: largest norm of the gradient.
        seed: of the noise that the policy draws from torch's generator.
        save_every: steps between checkpoints; the last step is always saved.
        compute: device, precision, parts and processes; one float32 step on the CPU by default.
        on_step: called after each step with (steps done, loss, learning rate).
        evaluate: called with the steps done while the policy has its averaged weights and is in evaluation mode; its
            figures are kept. It cannot disturb the training's random numbers.
        evaluate_every: steps between evaluations; there is one at the end in any case.
        keep: called while the policy has its averaged weights, with "policy" before every checkpoint, and with "best"
            after an evaluation whose "success" is not below that of any before.
        log: takes (steps done, figures) every few steps and after evaluations.

    The four functions and the files are used by the first process alone.

    Returns:
        "steps", "seconds", "steps_per_s", "loss" (mean over the last part of the curve), "curve" [[steps, mean loss]]
        and "evaluations" [[steps, figures]].

    Raises:
        UserError: the loss is not finite, a batch is too small for its parts, or the checkpoint is of another policy
            or of a run with other settings.
    """
    compute = compute or Compute()
    settings = {
        "steps": steps,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "weight_decay": weight_decay,
        "ema_decay": ema_decay,
        "grad_clip": grad_clip,
        "seed": seed,
        "precision": compute.precision,
    }
    run = _Run(policy, settings, Path(out) / CHECKPOINT, compute)
    tell = compute.ranks.first
    meter = Meter(log if tell else None, every=LOG_EVERY)
    began = time.perf_counter() - run.state["seconds"]
    with feed(batches, steps=steps, device=compute.device) as batch_of:
        while run.state["step"] < steps:
            batch = batch_of(run.state["step"])
            loss, norm, rate = run.update(batch)
            step = run.state["step"]
            meter.add(step, samples=min(map(len, batch.values())), rate=rate, loss=loss, grad_norm=norm)
            if on_step is not None and tell:
                on_step(step, loss, rate)
            if evaluate is not None and tell and (step == steps or (evaluate_every and step % evaluate_every == 0)):
                figures = run.evaluate(evaluate, keep)
                if log is not None:
                    log(step, {f"eval/{name}": value for name, value in figures.items()})
                meter.restart()
            if tell and (step == steps or step % save_every == 0):
                run.state["seconds"] = time.perf_counter() - began
                run.save(keep)
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

    def __init__(self, policy: Trainable, settings: dict[str, Any], path: Path, compute: Compute) -> None:
        if not isinstance(policy, nn.Module):
            raise TypeError("the policy must be a torch.nn.Module")
        self.model: nn.Module = policy.to(compute.device)
        self.settings = settings
        self.path = path
        self.compute = compute
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            policy.get_optim_params(), lr=0.0, weight_decay=settings["weight_decay"], fused=True
        )
        self.gradient = Gradient(self.model, compute, seed=settings["seed"])
        self.follow: Callable[[], None] | None = getattr(policy, "update", None)
        self.ema = EMA(self.model, decay=settings["ema_decay"])
        # "recent": sum and number of the losses since the last point of the curve
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0, "curve": [], "recent": [0.0, 0], "evaluations": []}
        torch.manual_seed(settings["seed"])
        self.model.train()
        if path.exists():
            self._resume()
        self._require_same_step()

    def update(self, batch: Mapping[str, Tensor]) -> tuple[float, float, float]:
        """Do one step; return loss, norm of the gradient before it was clipped, and learning rate."""
        step, scaler = self.state["step"], self.gradient.scaler
        rate = learning_rate_at(
            step,
            steps=self.settings["steps"],
            peak=self.settings["learning_rate"],
            warmup=self.settings["warmup"],
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.gradient(batch, step=step)
        scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings["grad_clip"])
        value, length = torch.stack((loss.float(), norm.float())).tolist()
        if not math.isfinite(value):
            raise UserError(
                f"the loss is {value} at step {step}: lower the learning rate or look for outliers in the data"
            )
        scaler.step(self.optimizer)
        scaler.update()
        if self.follow is not None:
            self.follow()
        self.ema.update()
        self._record(value)
        return value, length, rate

    def evaluate(self, evaluate: Evaluate, keep: Keep | None) -> dict[str, float]:
        devices = [self.compute.device] if self.compute.device.type == "cuda" else []
        self.model.eval()
        with self.ema.applied(), torch.random.fork_rng(devices):
            figures = dict(evaluate(self.state["step"]))
            before = [past["success"] for _, past in self.state["evaluations"] if "success" in past]
            if keep is not None and "success" in figures and figures["success"] >= max(before, default=0.0):
                keep("best")
        self.model.train()
        self.state["evaluations"].append([self.state["step"], figures])
        return figures

    def save(self, keep: Keep | None) -> None:
        if keep is not None:
            self.model.eval()
            with self.ema.applied():
                keep("policy")
            self.model.train()
        groups = {
            "model": self.model.state_dict(),
            "ema": self.ema.average,
            "optimizer": optimizer_tensors(self.optimizer),
            "random": random_state(self.compute.device),
        }
        state = {
            **self.state,
            "settings": self.settings,
            "ema_updates": self.ema.updates,
            "scaler": self.gradient.scaler.state_dict(),
        }
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
        self.gradient.scaler.load_state_dict(state.pop("scaler"))
        set_random_state(self.compute.device, groups["random"])
        self.state = state

    def _require_same_step(self) -> None:
        step, ranks = self.state["step"], self.compute.ranks
        steps = torch.tensor(float(step), device=self.compute.device)
        ranks.sum_(steps)
        if steps.item() != step * ranks.size:
            raise UserError(f"not every process sees {self.path}: put it on a disk that all of them share")


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's generators that a run on `device` draws from."""
    states = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(device: torch.device, states: Mapping[str, Tensor]) -> None:
    """Undo `random_state`; a run that moves to a GPU begins a stream of its own there."""
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
