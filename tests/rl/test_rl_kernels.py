"""The fused layers, gradients and optimiser give what torch's own give."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from robolearn.rl import kernels
from robolearn.rl.networks import EnsembleMLP, _plain, descend, frozen


def make(outputs=1, inputs=7):
    torch.manual_seed(0)
    return EnsembleMLP(inputs, outputs, hidden=24, heads=3)


def test_the_sigmoid_is_accurate_everywhere():
    x = np.linspace(-30, 30, 5001, dtype=np.float32)
    off = [kernels.sigmoid(value) - 1 / (1 + np.exp(-np.float64(value))) for value in x]
    assert np.abs(off).max() < 5e-7


@pytest.mark.parametrize("outputs", [1, 3])
def test_fused_layers_give_the_values_and_gradients_of_plain_ones(outputs):
    network, x = make(outputs), torch.randn(20, 7, requires_grad=True)
    fused, plain = network(x), _plain(x, network.parts, layer_norm=True)
    torch.testing.assert_close(fused, plain)
    weight = torch.randn_like(plain)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), [x, *network.parts]) for y in (fused, plain))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_products_are_in_bfloat16_where_torch_is_told_that_this_is_precise_enough():
    network, x = make(), torch.randn(20, 7, requires_grad=True)
    exact = network(x)
    slopes = torch.autograd.grad(exact.square().sum(), [x, *network.parts])
    torch.set_float32_matmul_precision("medium")
    try:
        rough = network(x)
        others = torch.autograd.grad(rough.square().sum(), [x, *network.parts])
    finally:
        torch.set_float32_matmul_precision("highest")
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.02
    for one, other in zip(slopes, others, strict=True):
        assert other.dtype == torch.float32
        assert (one - other).norm() < 0.02 * one.norm()


def test_inputs_in_pieces_are_the_same_and_only_one_may_want_a_gradient():
    network, seen, action = make(), torch.randn(20, 5), torch.randn(20, 2, requires_grad=True)
    whole = torch.cat((seen, action), dim=-1)
    torch.testing.assert_close(network(seen, action), network(whole))
    (one,) = torch.autograd.grad(network(seen, action).square().sum(), action)
    (other,) = torch.autograd.grad(network(whole).square().sum(), action)
    torch.testing.assert_close(one, other)


def test_some_of_the_heads_can_be_asked():
    network, x = make(), torch.randn(20, 7)
    torch.testing.assert_close(network(x, heads=torch.tensor([2, 0])), network(x)[[2, 0]])


def test_a_copy_has_parts_of_its_own():
    network = make()
    other = copy.deepcopy(network)
    assert all(a is b for a, b in zip(other.parts, (*other.weights, *other.biases), strict=True))
    assert all(a is not b for a, b in zip(other.parts, network.parts, strict=True))
    assert [p.shape for p in network.parts] == [p.shape for p in (*network.weights, *network.biases)]


def test_what_is_not_a_number_is_not_hidden():
    x = torch.randn(20, 7)
    x[3, 2] = torch.nan
    y = make()(x)
    assert y[:, 3].isnan().all()
    assert not y[:, 4:].isnan().any()


def test_frozen_networks_pass_a_gradient_on_and_get_none():
    network, x = make(), torch.randn(20, 7, requires_grad=True)
    with frozen(network.parts):
        loss = network(x).sum()
        loss.backward()
    assert x.grad is not None
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_step_is_that_of_torchs_adam_after_clipping(scale):
    ours = make()
    theirs = copy.deepcopy(ours)
    mine = torch.optim.Adam(ours.parameters(), lr=1e-2, fused=True)
    yours = torch.optim.Adam(theirs.parameters(), lr=1e-2)
    for seed in range(3):
        x = torch.randn(20, 7, generator=torch.Generator().manual_seed(seed))
        descend(mine, scale * ours(x).square().mean())
        yours.zero_grad()
        (scale * theirs(x).square().mean()).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        yours.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_parameter_that_the_loss_does_not_read_stays():
    network, idle = make(), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([*network.parameters(), idle], lr=1.0, fused=True)
    descend(optimizer, network(torch.randn(20, 7)).sum())
    assert idle.tolist() == [1.0, 1.0]
