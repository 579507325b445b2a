"""The gradient of a batch, whole or in parts: after each other in a process, beside each other in several."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from robolearn.errors import UserError, nearest
from robolearn.train.draws import Draws
from robolearn.train.ranks import Ranks

EPSILON = 1e-6  # of RA-BC: a batch in which no sample counts has loss zero
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """How steps are computed; but for `precision` nothing here changes more than rounding.

    Attributes:
        device: of the weights; batches are brought to it.
        precision: "fp32", or "bf16" or "fp16" for mixed precision: the weights stay float32, matrix products are
            computed in the short type. The gradient's scale is adapted for fp16.
        accumulate: parts, one after the other, into which each process cuts its share of a batch to save memory.
        compile: compile the policy's `forward` with `torch.compile`. Parts then draw noise of their own, so that
            their number matters.
        ranks: the processes that share the training.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    accumulate: int = 1
    compile: bool = False
    ranks: Ranks = field(default_factory=Ranks)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UserError(f"unknown train.precision '{self.precision}'{nearest(self.precision, PRECISIONS)}")


class Gradient:
    """Computes loss and gradient of batches.

    A part's loss is taken for the mean over its unpadded actions (its rows where nothing is marked as padded), so parts
    weigh as many as they have, and the sum is the loss of the whole batch.

    Where a batch has "loss_weight" [B], w >= 0, the loss is sum(w l) / (sum(w) + 1e-6), l being that of each sample,
    which the model gives when asked for `reduction="none"`.
    """

    def __init__(self, model: nn.Module, compute: Compute, *, seed: int) -> None:
        """Compute with `model`; `seed` is that of the parts' own random numbers."""
        self.model, self.compute, self.seed = model, compute, seed
        self.scaler = GradScaler(compute.device.type, enabled=compute.precision == "fp16")
        self.parts = compute.accumulate * compute.ranks.size
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._draws = Draws(compute.device)
        if compute.compile:
            # the compiled function draws from torch's generators as the plain one does, so that a run can be resumed
            model.compile(options={"fallback_random": True})

    def __call__(self, batch: Mapping[str, Tensor], *, step: int) -> Tensor:
        """Leave the gradient of a batch, times the scaler's scale, in the parameters; return the loss."""
        for parameter in self._parameters:
            parameter.grad = None
        batch = _as_shares(batch)
        if self.parts == 1:
            loss = self._loss(batch)
            self.scaler.scale(loss).backward()
            return loss.detach()
        return self._add_up(self._in_parts(batch, step))

    def _in_parts(self, batch: Mapping[str, Tensor], step: int) -> Tensor:
        rows = min(len(x) for x in batch.values())
        if rows < self.parts:
            raise UserError(
                f"a batch of {rows} cannot be cut into {self.parts} parts: raise train.batch_size, or lower "
                "train.accumulate or the number of processes"
            )
        first = self.compute.ranks.rank * self.compute.accumulate
        whole, total = _weight(batch), torch.zeros((), device=self.compute.device)
        with self._draws.step():
            for k in range(first, first + self.compute.accumulate):
                chosen = slice(rows * k // self.parts, rows * (k + 1) // self.parts)
                part = {key: x[chosen] for key, x in batch.items()}
                with self._draws.part(chosen, of=rows, key=(self.seed, step, k), shared=not self.compute.compile):
                    loss = self._loss(part) * (_weight(part) / whole)
                self.scaler.scale(loss).backward()
                total += loss.detach()
        return total

    def _loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        kind, short = self.compute.device.type, PRECISIONS[self.compute.precision]
        tensors = {key: x.to(self.compute.device, non_blocking=True) for key, x in batch.items()}
        weight = tensors.pop("loss_weight", None)
        with torch.autocast(kind, short) if short != torch.float32 else nullcontext():
            if weight is None:
                loss, _ = self.model(tensors)
                return loss
            losses, _ = self.model(tensors, reduction="none")
            return (losses * weight).mean()

    def _add_up(self, loss: Tensor) -> Tensor:
        """Sum gradient and loss over the processes, in one message; the loss is returned."""
        if self.compute.ranks.size == 1:
            return loss
        # a parameter that no process used keeps no gradient, so that its weight does not decay either
        used = loss.new_tensor([p.grad is not None for p in self._parameters])
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        message = torch.cat([g.flatten() for g in gradients] + [used, loss[None]])
        self.compute.ranks.sum_(message)
        sums = message.split([*(g.numel() for g in gradients), len(used), 1])
        for parameter, total, count in zip(self._parameters, sums, sums[-2].tolist(), strict=False):
            parameter.grad = total.view_as(parameter).clone() if count else None
        return sums[-1][0]


def _as_shares(batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Scale a whole batch's weights so that means over its samples or, in parts, their sum is what they stand for."""
    if "loss_weight" not in batch:
        return batch
    weight = batch["loss_weight"]
    return {**batch, "loss_weight": weight * (len(weight) / (weight.sum() + EPSILON))}


def _weight(batch: Mapping[str, Tensor]) -> float:
    """How many actions of a batch count."""
    pad = batch.get("action_is_pad")
    return float(min(len(x) for x in batch.values()) if pad is None else (~pad).sum())
