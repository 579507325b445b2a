"""Our checkpoints in LeRobot's commands: its pipelines do what our normaliser does."""

import lerobot_runs
import numpy as np
import pytest
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies import get_policy_class, make_pre_post_processors

from robolearn.normalize import LIMIT
from robolearn.policies.lerobot_processors import SplitStateStep
from robolearn.policies.serving import is_lerobot_folder, load_policy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return lerobot_runs.write_own_policy(tmp_path_factory.mktemp("own") / "policy")


def test_lerobots_pipelines_normalise_like_ours(folder):
    assert not is_lerobot_folder(folder)
    served, rng = load_policy(folder), np.random.default_rng(0)
    # also far from what training saw, and a component that never changed there
    frames = {
        key: (10 * rng.normal(size=(3, 2, *served.schema[key].shape))).astype(np.float32)
        for key in served.schema.observation_keys
    }
    before, after = make_pre_post_processors(PreTrainedConfig.from_pretrained(folder), str(folder))
    batch = before({key: torch.from_numpy(values) for key, values in frames.items()})
    for key, values in served.normalizer.observation(frames).items():
        np.testing.assert_allclose(batch[key].numpy(), values, rtol=1e-5, atol=1e-5)
        assert np.abs(values).max() == LIMIT
    chunk = rng.uniform(-1, 1, (3, 8, 5)).astype(np.float32)
    physical = served.normalizer["action"].inverse(chunk)
    np.testing.assert_allclose(after(torch.from_numpy(chunk)).numpy(), physical, rtol=0, atol=1e-7)


def test_lerobot_loads_what_robolearn_trained(folder):
    config = PreTrainedConfig.from_pretrained(folder)
    theirs = get_policy_class(config.type).from_pretrained(folder, config=config)
    ours = load_policy(folder).policy
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(theirs.state_dict()[name], tensor, rtol=0, atol=0)


def test_channels_are_cut_out_of_a_state_that_holds_all():
    step = SplitStateStep({"observation.state": 2, "observation.environment_state": 3})
    whole = torch.arange(10.0).reshape(2, 5)
    cut = step.observation({"observation.state": whole, "task": ["lift"]})
    assert cut["observation.state"].tolist() == [[0, 1], [5, 6]]
    assert cut["observation.environment_state"].tolist() == [[2, 3, 4], [7, 8, 9]]
    assert cut["task"] == ["lift"]
    there = {"observation.state": whole[:, :2], "observation.environment_state": whole[:, 2:]}
    assert step.observation(there) == there
