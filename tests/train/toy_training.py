"""A policy-like regression for tests of training; run as a script, it trains, in as many processes as it is started.

python toy_training.py OUT [ACCUMULATE [DIE_AT [BATCHES]]]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from robolearn.train.gradient import Compute
from robolearn.train.ranks import joined, pick_device
from robolearn.train.trainer import train

ROWS, HORIZON = 30, 4


class Chunks(nn.Module):
    """y_t = W x for the steps of a chunk; padded ones do not count, and noise comes from torch's generator."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, HORIZON))
        self.spare = nn.Linear(1, 1)  # never used
        self.seen: list[torch.dtype] = []

    def get_optim_params(self):
        return self.parameters()

    def forward(self, batch, reduction="mean"):
        guess = self.net(batch["x"])
        self.seen.append(guess.dtype)
        scale = 1 + 0.1 * torch.rand(len(guess), device=guess.device)[:, None]
        target = batch["action"] * scale + 0.1 * torch.randn_like(batch["action"])
        valid = (~batch["action_is_pad"]).float()
        error = (guess - target).square() * valid / valid.mean()
        return error.mean() if reduction == "mean" else error.mean(dim=1), {}


def batches(step: int):
    rng = np.random.default_rng(step)
    x = rng.normal(size=(ROWS, 3)).astype(np.float32)
    action = x.sum(axis=1, keepdims=True) * np.arange(1, HORIZON + 1, dtype=np.float32) / HORIZON
    pad = np.arange(HORIZON) >= rng.integers(1, HORIZON + 1, (ROWS, 1))
    return {"x": x, "action": action, "action_is_pad": pad}


def weighted(step: int):
    """The same; a third of the samples do not count, and the others the more, the less of them is padded."""
    batch = batches(step)
    counts = np.random.default_rng((step, 1)).random(ROWS) > 1 / 3
    return batch | {"loss_weight": (counts * (~batch["action_is_pad"]).mean(axis=1)).astype(np.float32)}


def make_policy() -> Chunks:
    torch.manual_seed(0)
    return Chunks()


def weights(policy: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


def run(policy: nn.Module, out: Path, batches=batches, **changes):
    arguments = {"steps": 40, "warmup": 5, "learning_rate": 1e-2, "save_every": 10, "ema_decay": 0.9, "seed": 3}
    return train(policy, batches, out=out, **(arguments | changes))


def main(out: str, accumulate: str = "1", die_at: str = "0", kind: str = "batches") -> None:
    """Train in `out` on the batches of this kind, and write the weights to weights_<rank>.npy there."""

    def on_step(step: int, _loss: float, _rate: float) -> None:
        if step == int(die_at):
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    device = pick_device("cpu")
    with joined(device) as ranks:
        policy = make_policy()
        compute = Compute(device, accumulate=int(accumulate), ranks=ranks)
        run(policy, Path(out), globals()[kind], compute=compute, on_step=on_step)
        np.save(Path(out) / f"weights_{ranks.rank}.npy", weights(policy).numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
