"""Batches whose samples do not all count the same: the weighted mean of their losses, whole and in parts."""

import numpy as np
import pytest
import torch
from toy_training import ROWS, Chunks, batches, make_policy, run, weighted, weights

from robolearn.train.feed import to_tensors
from robolearn.train.gradient import Compute, Gradient
from robolearn.train.ranks import Ranks


class OneOf(Ranks):
    """One of several processes, whose sums are left to the test."""

    def sum_(self, values):
        pass


def gradient_of(batch, **compute):
    policy = make_policy()
    gradient = Gradient(policy, Compute(**compute), seed=3)
    torch.manual_seed(5)
    loss = gradient(to_tensors(batch), step=0)
    return loss.item(), torch.cat([p.grad.flatten() for p in policy.net.parameters()])


def test_the_loss_is_the_weighted_mean_of_the_samples_losses():
    batch = to_tensors(weighted(0))
    policy = make_policy()
    torch.manual_seed(5)
    losses, _ = policy(batch, reduction="none")
    weight = batch["loss_weight"]
    expected = (weight * losses).sum() / (weight.sum() + 1e-6)
    expected.backward()
    loss, gradient = gradient_of(batch)
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient, torch.cat([p.grad.flatten() for p in policy.net.parameters()]))


@pytest.mark.parametrize("parts", [2, 7, 30])
def test_parts_and_processes_add_up_to_the_whole(parts):
    loss, gradient = gradient_of(weighted(0))
    in_turn = gradient_of(weighted(0), accumulate=parts)
    beside = [gradient_of(weighted(0), ranks=OneOf(rank, parts)) for rank in range(parts)]
    for one in (in_turn, tuple(map(sum, zip(*beside, strict=True)))):
        assert one[0] == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(one[1], gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "compute", [Compute(accumulate=3), Compute(precision="bf16", accumulate=2)], ids=["fp32", "bf16"]
)
def test_a_training_in_parts_ends_with_the_same_weights(tmp_path, compute):
    whole, parts = make_policy(), make_policy()
    run(whole, tmp_path / "whole", weighted, compute=Compute(precision=compute.precision))
    run(parts, tmp_path / "parts", weighted, compute=compute)
    atol = 2e-6 if compute.precision == "fp32" else 0.02
    torch.testing.assert_close(weights(parts), weights(whole), rtol=0, atol=atol)


def test_what_does_not_count_is_not_learned(tmp_path):
    def spoilt(step):
        batch = weighted(step)
        return batch | {"action": np.where(batch["loss_weight"][:, None] > 0, batch["action"], 100.0).astype("f4")}

    clean, other = make_policy(), make_policy()
    expected = run(clean, tmp_path / "clean", weighted)
    assert run(other, tmp_path / "other", spoilt)["curve"] == expected["curve"]
    assert torch.equal(weights(other), weights(clean))


def test_equal_weights_change_nothing_whatever_their_size(tmp_path):
    plain = make_policy()
    run(plain, tmp_path / "plain")
    for size in (1.0, 0.2):
        policy = make_policy()
        run(policy, tmp_path / str(size), lambda step, w=size: batches(step) | {"loss_weight": np.full(ROWS, w, "f4")})
        torch.testing.assert_close(weights(policy), weights(plain), rtol=0, atol=1e-5)


@pytest.mark.parametrize("accumulate", [1, 7])
def test_a_batch_in_which_nothing_counts_has_loss_zero(accumulate):
    batch = batches(0) | {"loss_weight": np.zeros(ROWS, np.float32)}
    loss, gradient = gradient_of(batch, accumulate=accumulate)
    assert loss == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_the_policy_does_not_see_the_weights():
    class Watching(Chunks):
        def forward(self, batch, reduction="mean"):
            assert set(batch) == {"x", "action", "action_is_pad"}
            return super().forward(batch, reduction)

    Gradient(Watching(), Compute(), seed=0)(to_tensors(weighted(0)), step=0)
