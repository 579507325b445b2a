"""What LeRobot's trainer leaves behind, at toy size: a dataset of our writer and checkpoints on it."""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

from robolearn.data import layout
from robolearn.data.writer import DatasetWriter
from robolearn.schema import Schema

PICTURE = 48  # pixels
TASK = "lift the cube"


def lift_schema(*cameras: str) -> Schema:
    from robolearn.lerobot_plugins.environment import RobolearnEnv

    return RobolearnEnv(cameras=list(cameras), image_size=PICTURE).schema


def random_frames(schema: Schema, length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Values that differ from one another; the last component of the state never changes."""
    frames: dict[str, Any] = {}
    for key, feature in schema.features.items():
        if feature.dtype == "image":
            frames[key] = rng.integers(0, 256, (length, *feature.shape), np.uint8)
        elif key in ("action", layout.PROGRESS):
            frames[key] = rng.uniform(feature.low, feature.high, (length, *feature.shape)).astype(np.float32)
        else:
            scale, offset = rng.uniform(0.1, 2.0, feature.shape), rng.normal(size=feature.shape)
            frames[key] = (offset + scale * rng.normal(size=(length, *feature.shape))).astype(np.float32)
    frames["observation.state"][:, -1] = 0.25
    return frames


def write_dataset(root: Path, *cameras: str, episodes: int = 3, length: int = 30) -> Path:
    schema, rng = lift_schema(*cameras), np.random.default_rng(0)
    schema = Schema({**schema.features, layout.PROGRESS: layout.PROGRESS_FEATURE}, schema.fps)
    stages = ("above", "grasped")
    writer = DatasetWriter(root, schema, robot_type="panda", stage_names=stages, video=False)
    for _ in range(episodes):
        stage = (np.arange(length) > length // 2).astype(np.int64)
        writer.add_episode(random_frames(schema, length, rng), task=TASK, stage=stage)
    writer.finalize()
    return root


def policy_config(kind: str) -> Any:
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig

    from robolearn.policies.diffusion.configuration_diffusion import DiffusionConfig as OwnDiffusionConfig
    from robolearn.policies.flow.configuration_flow import FlowConfig

    common: dict[str, Any] = {"device": "cpu", "push_to_hub": False}
    unet = {"horizon": 8, "n_action_steps": 4, "n_obs_steps": 2, "down_dims": (16, 32), "n_groups": 4}
    if kind in ("ddpm", "ddim"):
        steps = {"num_train_timesteps": 20, "num_inference_steps": 5}
        scheduler = {"noise_scheduler_type": kind.upper(), **steps}
        vision = {"pretrained_backbone_weights": None, "spatial_softmax_num_keypoints": 4, "crop_shape": (40, 40)}
        return DiffusionConfig(**common, **unet, **scheduler, **vision, diffusion_step_embed_dim=16)
    if kind == "act":
        return ACTConfig(
            **common,
            chunk_size=8,
            n_action_steps=4,
            dim_model=32,
            n_heads=2,
            dim_feedforward=32,
            n_encoder_layers=1,
            n_vae_encoder_layers=1,
            latent_dim=4,
            pretrained_backbone_weights=None,
        )
    small = {"n_obs_steps": 2, "horizon": 8, "n_action_steps": 4, "hidden_dim": 32, "num_blocks": 1}
    if kind == "flow":
        return FlowConfig(**common, **small)
    return OwnDiffusionConfig(**common, **unet, diffusion_step_embed_dim=16, num_inference_steps=5)


def write_checkpoint(out: Path, dataset: Path, kind: str, *, seed: int = 0, **changes: Any) -> Path:
    """An untrained policy with the processors and files of `lerobot-train`; returns the `pretrained_model` folder."""
    from lerobot.common.train_utils import save_checkpoint
    from lerobot.configs.default import DatasetConfig
    from lerobot.configs.train import TrainPipelineConfig
    from lerobot.datasets.factory import make_dataset
    from lerobot.policies import make_policy, make_pre_post_processors

    config = policy_config(kind)
    for name, value in changes.items():
        setattr(config, name, value)
    source = DatasetConfig(repo_id="local/demos", root=str(dataset), video_backend="pyav")
    run = TrainPipelineConfig(source, policy=config, output_dir=out)
    data = make_dataset(run)
    torch.manual_seed(seed)
    policy = make_policy(config, ds_meta=data.meta)
    # as training would, so that no bias is zero and no head gives nothing
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    before, after = make_pre_post_processors(config, dataset_stats=data.meta.stats)
    optimizer = torch.optim.SGD(policy.parameters(), 0.1)
    save_checkpoint(out, 1, run, policy, optimizer, preprocessor=before, postprocessor=after)
    return out / "pretrained_model"


def write_own_policy(folder: Path, *, n_obs_steps: int = 2) -> Path:
    """An untrained policy as `robolearn train` saves it."""
    from robolearn.policies.flow.modeling_flow import build
    from robolearn.policies.serving import TorchPolicy, save_policy

    schema = lift_schema()
    torch.manual_seed(0)
    policy = build(schema, n_obs_steps=n_obs_steps, horizon=8, n_action_steps=4, hidden_dim=32, num_blocks=1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    statistics = {}
    for k, key in enumerate(schema.observation_keys):
        rng = np.random.default_rng(k)
        statistics[key] = {"mean": rng.normal(size=schema[key].shape), "std": rng.uniform(0.1, 1, schema[key].shape)}
        statistics[key]["std"][-1] = 0.0  # never changed
    save_policy(folder, TorchPolicy(policy, schema, statistics))
    return folder
