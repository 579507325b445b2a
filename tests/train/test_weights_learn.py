"""Of two contradictory ways that were demonstrated, a policy learns the one in which progress rises."""

import numpy as np
import pytest
import torch

from robolearn.data.windows import Windows
from robolearn.policies.flow.configuration_flow import FlowConfig
from robolearn.policies.flow.modeling_flow import FlowPolicy
from robolearn.rewards.rabc import rabc_weights, rising
from robolearn.schema import Feature, Schema
from robolearn.train.trainer import train

LENGTH, EPISODES, HORIZON = 5, 80, 4


def share_to_the_right(out, weighting):
    """Train on episodes of which half go left (-0.8) without, and half right (0.8) with progress; sample."""
    vector = {"shape": (1,), "names": ("x",), "unit": ("1",)}
    state = Feature("float32", **vector, role="observation")
    action = Feature("float32", **vector, role="action", low=(-1.0,), high=(1.0,))
    schema = Schema({"observation.state": state, "action": action}, 10)
    rng = np.random.default_rng(0)
    right = np.arange(EPISODES) % 2 == 1
    channels = {
        "observation.state": np.repeat(rng.uniform(-1, 1, EPISODES), LENGTH)[:, None].astype(np.float32),
        "action": np.repeat(np.where(right, 0.8, -0.8), LENGTH)[:, None].astype(np.float32),
    }
    way = np.linspace(0.2, 0.8, LENGTH)
    progress = np.concatenate([way if one else 1 - way for one in right])
    ends = np.arange(1, EPISODES + 1) * LENGTH
    bounds = {"starts": ends - LENGTH, "ends": ends}
    weights = None if weighting is None else weighting(progress, **bounds, horizon=HORIZON).astype(np.float32)
    windows = Windows(channels, **bounds, n_obs_steps=1, horizon=HORIZON, loss_weight=weights)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes = {"hidden_dim": 64, "num_blocks": 1, "condition_dim": 16}
    policy = FlowPolicy(FlowConfig.from_schema(schema, n_obs_steps=1, horizon=HORIZON, n_action_steps=4, **sizes))
    train(policy, windows.shuffled(64, seed=0), steps=500, warmup=50, learning_rate=3e-3, ema_decay=0.99, out=out)
    chunks = policy.predict_action_chunk({"observation.state": torch.zeros(1, 1, 1)}, num_samples=200)[0, :, :, 0]
    return (chunks > 0.5).all(dim=1).float().mean().item()


@pytest.mark.parametrize("weighting", [rabc_weights, rising])
def test_the_way_without_progress_is_not_learned(tmp_path, weighting):
    assert share_to_the_right(tmp_path, weighting) > 0.97


def test_both_ways_are_learned_where_all_count(tmp_path):
    assert 0.25 < share_to_the_right(tmp_path, None) < 0.75
