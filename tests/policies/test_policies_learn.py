"""Every policy and variant learns that there are two ways around an obstacle, and samples both."""

import numpy as np
import pytest
import torch

from robolearn.policies.diffusion.modeling_diffusion import build as build_diffusion
from robolearn.policies.flow.modeling_flow import build as build_flow
from robolearn.schema import Feature, Schema
from robolearn.train.trainer import train

HORIZON = 8
SCHEMA = Schema(
    {
        "observation.state": Feature("float32", (1,), ("start",), ("1",), "observation"),
        "action": Feature("float32", (2,), ("x", "y"), ("1",) * 2, "action", low=(-1.0,) * 2, high=(1.0,) * 2),
    },
    fps=10,
)
COMMON = {
    "n_obs_steps": 1,
    "horizon": HORIZON,
    "n_action_steps": HORIZON,
    "hidden_dim": 64,
    "num_blocks": 2,
    "num_heads": 2,
    "condition_dim": 32,
    "down_dims": (16, 32),
    "kernel_size": 3,
    "n_groups": 4,
    "diffusion_step_embed_dim": 32,
}
DIT, MIXTURE = {"backbone": "dit"}, {"backbone": "dit", "horizons": (4, 8)}
ONE_STEP = {"variant": "shortcut", "num_inference_steps": 1, "shortcut_steps": 16}
CASES = {
    "flow-mlp": (build_flow, {}),
    "flow-unet": (build_flow, {"backbone": "unet"}),
    "flow-dit": (build_flow, DIT | {"sampler": "heun", "num_inference_steps": 5}),
    "flow-mixture": (build_flow, MIXTURE),
    "shortcut-mlp": (build_flow, ONE_STEP),
    "shortcut-dit": (build_flow, DIT | ONE_STEP),
    "diffusion-mlp": (build_diffusion, {"backbone": "mlp"}),
    "diffusion-unet": (build_diffusion, {}),
    "diffusion-unet-sample": (build_diffusion, {"prediction_type": "sample"}),
    "diffusion-dit": (build_diffusion, DIT),
    "diffusion-mixture": (build_diffusion, MIXTURE),
}


def path(start, side):
    """From left to right, above (1) or below (-1) an obstacle in the middle: [n, HORIZON, 2]."""
    k = np.linspace(0, 1, HORIZON)
    y = start[:, None] + 0.7 * side[:, None] * np.sin(np.pi * k)
    return np.stack((np.broadcast_to(1.6 * k - 0.8, y.shape), y), axis=2).astype(np.float32)


def batch_of(step):
    rng = np.random.default_rng(step)
    start = rng.uniform(-0.2, 0.2, 128)
    seen = (start / 0.12).astype(np.float32)[:, None, None]
    return {"observation.state": seen, "action": path(start, rng.choice([-1.0, 1.0], 128))}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_both_ways_around_are_sampled(case, tmp_path):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    build, own = CASES[case]
    policy = build(SCHEMA, **(COMMON | own))
    train(policy, batch_of, steps=800, warmup=50, learning_rate=3e-3, ema_decay=0.99, out=tmp_path)
    for start in (-0.15, 0.15):
        seen = {"observation.state": torch.full((1, 1, 1), start / 0.12)}
        chunks = policy.predict_action_chunk(seen, num_samples=200)[0].numpy()
        side = np.sign(chunks[:, :, 1].mean(axis=1) - start)
        off = np.abs(chunks - path(np.full(200, start), side)).max(axis=(1, 2))
        print(case, start, (side > 0).mean(), np.quantile(off, [0.5, 0.9]))
        assert 0.25 < (side > 0).mean() < 0.75
        assert (off < 0.25).mean() > 0.9
