"""Batched ensembles, and how they follow each other."""

import pytest
import torch

from robolearn.rl.networks import EnsembleMLP, follow, frozen


@pytest.mark.parametrize("layer_norm", [True, False])
def test_an_ensemble_is_its_members(layer_norm):
    torch.manual_seed(0)
    together = EnsembleMLP(3, 2, hidden=8, heads=4, layer_norm=layer_norm)
    x = torch.randn(5, 3)
    y = together(x)
    assert y.shape == (4, 5, 2)
    for head in range(4):
        alone = EnsembleMLP(3, 2, hidden=8, layer_norm=layer_norm)
        for mine, theirs in zip(alone.parameters(), together.parameters(), strict=True):
            mine.data = theirs.data[head : head + 1]
        torch.testing.assert_close(alone(x)[0], y[head])
    assert (y[0] - y[1]).abs().max() > 1e-3


def test_layer_norm_bounds_what_is_imagined_far_away():
    torch.manual_seed(0)
    x = torch.randn(50, 3)
    growth = []
    for layer_norm in (True, False):
        network = EnsembleMLP(3, 1, hidden=32, layer_norm=layer_norm)
        near, far = (network(scale * x).abs().max().item() for scale in (1, 1e4))
        growth.append(far / near)
    assert growth[0] < 3 < 100 < growth[1]


def test_a_network_with_a_zero_last_layer_gives_zeros_and_can_still_learn():
    network = EnsembleMLP(3, 2, hidden=8)
    network.zero_last()
    y = network(torch.randn(5, 3))
    assert (y == 0).all()
    (y - 1).square().mean().backward()
    assert network.weights[-1].grad.abs().max() > 0


def test_a_target_goes_a_share_of_the_way():
    torch.manual_seed(0)
    target, source = (EnsembleMLP(3, 2, hidden=8, heads=2) for _ in range(2))
    expected = [
        0.9 * a.detach() + 0.1 * b.detach() for a, b in zip(target.parameters(), source.parameters(), strict=True)
    ]
    follow(target, source, 0.1)
    for after, value in zip(target.parameters(), expected, strict=True):
        torch.testing.assert_close(after, value)


def test_parameters_learn_again_also_after_an_error_while_they_were_frozen():
    network = EnsembleMLP(3, 2, hidden=8)

    def fail_while_frozen() -> None:
        with frozen(network.parts):
            assert not any(p.requires_grad for p in network.parameters())
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail_while_frozen()
    assert all(p.requires_grad for p in network.parameters())
