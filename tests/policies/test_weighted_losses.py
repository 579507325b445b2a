"""Every policy's loss can be weighted by sample, in the trainer's own way."""

import lerobot_runs
import pytest
import tiny_vlas
import torch
from toys import KINDS, make_batch, make_policy

from robolearn.data.dataset import EpisodeDataset
from robolearn.data.images import ImageOptions
from robolearn.policies.lerobot_adapter.finetune import build
from robolearn.train.gradient import Compute, Gradient

# what a mixture adds to the loss, lest its gate prefers few horizons, is about the batch as a whole
ALONE = [kind for kind in KINDS if "mixture" not in kind]


def gradient_of(policy, batch, **compute):
    gradient = Gradient(policy, Compute(**compute), seed=0)
    torch.manual_seed(7)
    loss = gradient(batch, step=0)
    return loss, torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])


def spoilt(batch):
    """The same with other actions where nothing counts."""
    counts = batch["loss_weight"][:, None, None] > 0
    return batch | {"action": torch.where(counts, batch["action"], 0.5)}


@pytest.mark.parametrize("kind", ALONE)
def test_only_what_counts_is_learned_also_in_parts(kind):
    policy = make_policy(kind)
    batch = make_batch(6) | {"loss_weight": torch.tensor([1, 0, 0.3, 0, 0, 0.6])}
    loss, gradient = gradient_of(policy, batch)
    assert gradient.abs().max() > 1e-3
    for other, compute in ((spoilt(batch), {}), (batch, {"accumulate": 3}), (batch, {"accumulate": 6})):
        again, same = gradient_of(policy, other, **compute)
        torch.testing.assert_close(again, loss)
        torch.testing.assert_close(same, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["flow-mixture", "diffusion-mixture"])
def test_a_mixture_learns_nothing_where_nothing_counts(kind):
    loss, gradient = gradient_of(make_policy(kind), make_batch(4) | {"loss_weight": torch.zeros(4)})
    assert loss == 0
    assert not gradient.any()


def test_only_what_counts_is_learned_by_a_large_pretrained_policy(tmp_path, monkeypatch):
    lerobot_runs.write_dataset(tmp_path / "demos", "external", episodes=2, length=12)
    tiny_vlas.shrink_pi(monkeypatch)
    tiny_vlas.write_checkpoint(tmp_path / "pi0", "pi0")
    data = EpisodeDataset.load(tmp_path / "demos", images=ImageOptions())
    chunk = {"horizon": 6, "n_action_steps": 3, "n_obs_steps": 1}
    what = {"train_expert_only": True, "freeze_vision_encoder": True, "lora_rank": None, "lora_alpha": 8}
    policy = build(data.schema, data, pretrained=str(tmp_path / "pi0"), vlm=None, **chunk, **what)
    weight = torch.tensor([1, 0, 0.3, 0] * 6).numpy()
    frames = torch.arange(8, 12).numpy()  # the last of them padded
    windows = data.windows(1, 6, tasks=True, loss_weight=weight)
    batch = {key: torch.from_numpy(x) for key, x in windows.batch(frames).items()}
    loss, gradient = gradient_of(policy, batch)
    assert gradient.abs().max() > 1e-4
    again, same = gradient_of(policy, spoilt(batch))
    torch.testing.assert_close(again, loss)
    torch.testing.assert_close(same, gradient)
