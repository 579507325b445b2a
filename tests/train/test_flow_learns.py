"""The flow policy learns a distribution with two modes, through dataset windows and trainer."""

import numpy as np
import torch

from robolearn.data.windows import Windows
from robolearn.policies.flow.configuration_flow import FlowConfig
from robolearn.policies.flow.modeling_flow import FlowPolicy
from robolearn.schema import Feature, Schema
from robolearn.train.trainer import train


def test_both_modes_are_covered(tmp_path):
    """From state s one goes left or right: every action of an episode is -0.8 + 0.1 s or 0.8 + 0.1 s."""
    state = Feature("float32", (1,), ("s",), ("1",), "observation")
    action = Feature("float32", (1,), ("a",), ("1",), "action", low=(-1.0,), high=(1.0,))
    schema = Schema({"observation.state": state, "action": action}, 10)
    rng = np.random.default_rng(0)
    side = np.repeat(rng.choice([-0.8, 0.8], 200), 5)
    s = np.repeat(rng.uniform(-1, 1, 200), 5)
    channels = {
        "observation.state": s[:, None].astype(np.float32),
        "action": (side + 0.1 * s)[:, None].astype(np.float32),
    }
    ends = np.arange(5, 1001, 5)
    windows = Windows(channels, starts=ends - 5, ends=ends, n_obs_steps=1, horizon=4)

    torch.manual_seed(0)
    torch.set_num_threads(1)
    settings = {"n_obs_steps": 1, "horizon": 4, "n_action_steps": 4, "hidden_dim": 64, "condition_dim": 16}
    policy = FlowPolicy(FlowConfig.from_schema(schema, **settings))
    result = train(policy, windows.shuffled(128, seed=0), steps=1200, warmup=50, learning_rate=3e-3, out=tmp_path)
    assert result["loss"] < 0.5 * result["curve"][0][1]

    for value in (-0.7, 0.7):
        batch = {"observation.state": torch.full((1, 1, 1), value)}
        samples = policy.predict_action_chunk(batch, num_samples=200)[0, :, :, 0]
        right = samples.mean(dim=1) > 0
        assert 0.25 < right.float().mean() < 0.75
        modes = torch.where(right, 0.8, -0.8)[:, None] + 0.1 * value
        near = ((samples - modes).abs() < 0.15).all(dim=1).float().mean()
        assert near > 0.9
