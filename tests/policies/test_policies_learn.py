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
    "num_blocks": 2,
    "num_heads": 2,
    "condition_dim": 32,
    "down_dims": (32, 64),
    "kernel_size": 3,
    "n_groups": 4,
    "diffusion_step_embed_dim": 32,
}
# settings, training steps, learning rate
MLP = ({"backbone": "mlp", "hidden_dim": 64}, 1200, 4e-3)
UNET = ({"backbone": "unet"}, 450, 4e-3)
DIT = ({"backbone": "dit", "hidden_dim": 32}, 600, 2e-3)
ONE_STEP = {"variant": "shortcut", "num_inference_steps": 1, "shortcut_steps": 16}
CASES = {
    "flow-mlp": (build_flow, MLP, {}),
    "flow-unet": (build_flow, UNET, {}),
    "flow-dit": (build_flow, DIT, {"sampler": "heun", "num_inference_steps": 5}),
    "flow-mixture": (build_flow, DIT, {"horizons": (4, 8)}),
    "diffusion-mlp": (build_diffusion, MLP, {}),
    "diffusion-unet": (build_diffusion, UNET, {}),
    "diffusion-unet-sample": (build_diffusion, UNET, {"prediction_type": "sample"}),
    "diffusion-dit": (build_diffusion, DIT, {}),
    "diffusion-mixture": (build_diffusion, DIT, {"horizons": (4, 8)}),
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


def learn(build, backbone, own, out):
    settings, steps, rate = backbone
    torch.manual_seed(0)
    torch.set_num_threads(1)
    policy = build(SCHEMA, **(COMMON | settings | own))
    train(policy, batch_of, steps=steps, warmup=50, learning_rate=rate, ema_decay=0.99, out=out)
    return policy


def ways(policy, start):
    """Of 200 chunks: the share that goes above, and the share that stays near one of the two paths."""
    seen = {"observation.state": torch.full((1, 1, 1), start / 0.12)}
    chunks = policy.predict_action_chunk(seen, num_samples=200)[0].numpy()
    side = np.sign(chunks[:, :, 1].mean(axis=1) - start)
    off = np.abs(chunks - path(np.full(200, start), side)).max(axis=(1, 2))
    return (side > 0).mean(), (off < 0.25).mean()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_both_ways_around_are_sampled(case, tmp_path):
    policy = learn(*CASES[case], tmp_path)
    for start in (-0.15, 0.15):
        above, near = ways(policy, start)
        assert 0.25 < above < 0.75
        assert near > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [MLP, DIT])
def test_a_shortcut_needs_one_step_where_a_rectified_flow_fails(backbone, tmp_path):
    settings, steps, rate = backbone
    longer = (settings, int(1.5 * steps), rate)
    shortcut = learn(build_flow, longer, ONE_STEP, tmp_path / "shortcut")
    rectified = learn(build_flow, backbone, {"num_inference_steps": 1}, tmp_path / "rectified")
    for start in (-0.15, 0.15):
        above, near = ways(shortcut, start)
        assert 0.25 < above < 0.75
        assert near > 0.6
        assert ways(rectified, start)[1] < 0.2
