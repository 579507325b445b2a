"""Tiny policies of every kind, and batches for them."""

import numpy as np
import torch

from robolearn.language import TOKENS, Tokenizer
from robolearn.policies.diffusion.configuration_diffusion import DiffusionConfig
from robolearn.policies.diffusion.modeling_diffusion import DiffusionPolicy
from robolearn.policies.flow.configuration_flow import FlowConfig
from robolearn.policies.flow.modeling_flow import FlowPolicy
from robolearn.policies.vla.configuration_vla import VLAConfig
from robolearn.policies.vla.modeling_vla import VLAPolicy
from robolearn.schema import Feature, Schema

HORIZON, ACTION_DIM, N_OBS = 8, 2, 2
PICTURE = (36, 40, 3)
CAMERA = "observation.images.top"
SIZES = {
    "horizon": HORIZON,
    "n_action_steps": 3,
    "n_obs_steps": N_OBS,
    "hidden_dim": 16,
    "num_blocks": 2,
    "condition_dim": 8,
    "num_heads": 2,
    "down_dims": (8, 16),
    "n_groups": 4,
    "diffusion_step_embed_dim": 8,
    "vision_dim": 6,
    "num_inference_steps": 4,
}
# every policy, backbone and variant
KINDS = {
    "flow-mlp": ("flow", {}),
    "flow-unet": ("flow", {"backbone": "unet"}),
    "flow-dit": ("flow", {"backbone": "dit"}),
    "flow-heun": ("flow", {"sampler": "heun"}),
    "flow-shortcut-mlp": ("flow", {"variant": "shortcut"}),
    "flow-shortcut-unet": ("flow", {"variant": "shortcut", "backbone": "unet"}),
    "flow-shortcut-dit": ("flow", {"variant": "shortcut", "backbone": "dit", "num_inference_steps": 1}),
    "flow-mixture": ("flow", {"backbone": "dit", "horizons": (2, 4, 8), "dynamic_horizon": True, "consensus_steps": 2}),
    "flow-shortcut-mixture": ("flow", {"variant": "shortcut", "backbone": "dit", "horizons": (4, 8)}),
    "diffusion-mlp": ("diffusion", {"backbone": "mlp"}),
    "diffusion-unet": ("diffusion", {}),
    "diffusion-dit": ("diffusion", {"backbone": "dit"}),
    "diffusion-sample": ("diffusion", {"prediction_type": "sample"}),
    "vla-mlp": ("vla", {}),
    "vla-dit": ("vla", {"backbone": "dit"}),
    "diffusion-mixture": ("diffusion", {"backbone": "dit", "horizons": (2, 4, 8), "dynamic_horizon": True}),
}
POLICIES = {
    "flow": (FlowConfig, FlowPolicy),
    "diffusion": (DiffusionConfig, DiffusionPolicy),
    "vla": (VLAConfig, VLAPolicy),
}
# for those that read an instruction
WORDS = {"language_dim": 8, "language_blocks": 1, "language_heads": 2, "state_dim": 8, "buckets": 64}
SAID = ("lift the cube", "put it into the left bin", "put it into the right bin")
STATISTICS = {
    "observation.state": {"mean": [1.0, 2.0, 3.0], "std": [2.0, 2.0, 2.0]},
    "observation.environment_state": {"mean": [0.0, 0.0], "std": [1.0, 0.0]},
}


def vector(n, role, **bounds):
    return Feature("float32", (n,), tuple(f"x{i}" for i in range(n)), ("m",) * n, role, **bounds)


def make_schema(action_dim=ACTION_DIM, *, camera=False):
    features = {
        "observation.state": vector(3, "observation"),
        "observation.environment_state": vector(2, "observation"),
        "observation.stage": vector(1, "annotation"),
        "action": vector(action_dim, "action", low=(-0.5,) * action_dim, high=(1.5,) * action_dim),
    }
    if camera:
        features[CAMERA] = Feature("image", PICTURE, ("height", "width", "channels"), ("1",) * 3, "observation")
    return Schema(features, fps=20)


def make_untrained(kind, *, camera=False, **settings):
    """A policy of one of `KINDS` as it is before training."""
    torch.manual_seed(0)
    policy, own = KINDS[kind]
    config, cls = POLICIES[policy]
    words = WORDS if policy == "vla" else {}
    return cls(config.from_schema(make_schema(camera=camera), **(SIZES | words | own | settings)))


def make_policy(kind, *, camera=False, **settings):
    """The same, with all weights as if trained."""
    policy = make_untrained(kind, camera=camera, **settings)
    for parameter in policy.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return policy.eval()


def make_batch(n=5, *, camera=False):
    torch.manual_seed(1)
    batch = {
        "observation.state": torch.randn(n, N_OBS, 3),
        "observation.environment_state": torch.randn(n, N_OBS, 2),
        "action": torch.rand(n, HORIZON, ACTION_DIM) * 2 - 1,
        "action_is_pad": torch.arange(HORIZON).expand(n, HORIZON) >= torch.arange(n)[:, None] % HORIZON + 1,
        TOKENS: torch.from_numpy(Tokenizer(buckets=WORDS["buckets"])(instructions(n))),
    }
    if camera:
        batch[CAMERA] = torch.randint(0, 256, (n, N_OBS, *PICTURE), dtype=torch.uint8)
    return batch


def instructions(n):
    """What each of n worlds is told."""
    return np.array([SAID[k % len(SAID)] for k in range(n)])


def make_noise(n=5, *, seed=3):
    return torch.randn(n, HORIZON, ACTION_DIM, generator=torch.Generator().manual_seed(seed))


def observe(n, *, camera=False):
    """Observations in physical units."""
    rng = np.random.default_rng(0)
    seen = {
        "observation.state": rng.normal(size=(n, N_OBS, 3)).astype(np.float32),
        "observation.environment_state": rng.normal(size=(n, N_OBS, 2)).astype(np.float32),
        "something.else": np.zeros(n),
        "task": instructions(n),
    }
    if camera:
        seen[CAMERA] = rng.integers(0, 256, (n, N_OBS, *PICTURE), np.uint8)
    return seen
