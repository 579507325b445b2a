"""From the error of every action to the loss of a batch."""

from __future__ import annotations

from torch import Tensor


def reduced(error: Tensor, pad: Tensor | None, reduction: str) -> Tensor:
    """Return the mean of errors [B, horizon] in which every unpadded action weighs the same.

    Args:
        error: of each action.
        pad: [B, horizon], true where an action is only repeated; None where none is.
        reduction: "mean", or "none" for one loss per sample [B], whose mean is the former.
    """
    if pad is not None:
        valid = (~pad).to(error.dtype)
        error = error * valid / valid.mean()
    return error.mean() if reduction == "mean" else error.mean(dim=1)
