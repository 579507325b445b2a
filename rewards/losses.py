"""Losses that reward models share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


def stage_and_tau_loss(logits: Tensor, tau: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """Return CE(stage) + MSE(tau) over valid frames (SARM, Chen et al. 2025), and figures to log.

    Args:
        logits: of stages [B, T, K + 1].
        tau: predicted progress within the stage [B, T].
        batch: "stage" [B, T], "tau" [B, T], "valid" [B, T]; where all is done there is no progress to learn.
    """
    valid = batch["valid"]
    stage_loss = functional.cross_entropy(logits[valid], batch["stage"][valid])
    within = valid & (batch["stage"] < logits.shape[-1] - 1)
    tau_loss = ((tau - batch["tau"]).square() * within).sum() / within.sum().clamp(min=1)
    with torch.no_grad():
        right = (logits.argmax(-1) == batch["stage"])[valid].float().mean()
    figures = {"stage_loss": stage_loss.item(), "tau_loss": tau_loss.item(), "stage_accuracy": right.item()}
    return stage_loss + tau_loss, figures


def done_loss(logit: Tensor, done: Tensor, valid: Tensor) -> Tensor:
    """Return the cross-entropy of "all is done" over valid frames.

    Args:
        logit: [B, T].
        done: whether it is [B, T].
        valid: frames that count [B, T].
    """
    loss = functional.binary_cross_entropy_with_logits(logit, done.to(logit.dtype), reduction="none")
    return masked_mean(loss, valid)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the values [...] where the mask [...] holds; 0 where it holds nowhere."""
    mean: Tensor = (values * mask).sum() / mask.sum().clamp(min=1)
    return mean
