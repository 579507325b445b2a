"""The networks: the U-Net against LeRobot's, the transformer's start, chunks that the encoder sees once."""

import pytest
import torch
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionConditionalUnet1d
from torch.nn import functional
from toys import make_batch, make_noise, make_policy, make_untrained

from robolearn.policies.backbones.unet import Convolution, UNet
from robolearn.policies.backbones.waves import Waves


@torch.no_grad()
def copy_from_lerobot(ours: UNet, theirs: DiffusionConditionalUnet1d, time_dim: int) -> None:
    """Give our U-Net LeRobot's weights."""

    def linear(mine, other):
        mine.weight.copy_(other.weight)
        mine.bias.copy_(other.bias)

    def convolution(mine, other):
        mine.weight.copy_(other.weight.transpose(1, 2)[:, None])
        mine.bias.copy_(other.bias)

    def unit(mine, other):
        convolution(mine.convolution, other.block[0])
        linear(mine.norm, other.block[1])

    def flat(modules):
        return [block for pair in modules for block in pair[:2]]

    their_blocks = [*flat(theirs.down_modules), *theirs.mid_modules, *flat(theirs.up_modules)]
    for mine, other in zip([*ours.down, *ours.middle, *ours.up], their_blocks, strict=True):
        unit(mine.first, other.conv1)
        unit(mine.second, other.conv2)
        if isinstance(other.residual_conv, torch.nn.Conv1d):
            convolution(mine.shortcut, other.residual_conv)
    films = [block.cond_encoder[1] for block in their_blocks]
    weight = torch.cat([film.weight for film in films])
    ours.film_time.weight.copy_(weight[:, :time_dim])
    ours.film_seen.weight.copy_(weight[:, time_dim:])
    ours.film_seen.bias.copy_(torch.cat([film.bias for film in films]))
    for mine, level in zip(ours.shrink, theirs.down_modules, strict=False):
        convolution(mine, level[2])
    for mine, level in zip(ours.grow, theirs.up_modules, strict=True):
        convolution(mine, level[2])
    unit(ours.last, theirs.final_conv[0])
    convolution(ours.chunk_out, theirs.final_conv[1])
    linear(ours.time_in, theirs.diffusion_step_encoder[1])
    linear(ours.time_out, theirs.diffusion_step_encoder[3])


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("dims", [(8, 16, 24), (16,)])
def test_the_unet_computes_what_lerobots_does(dims, scale):
    from lerobot.configs import FeatureType, PolicyFeature

    config = DiffusionConfig(
        horizon=8,
        n_action_steps=4,
        down_dims=dims,
        kernel_size=3,
        diffusion_step_embed_dim=12,
        use_film_scale_modulation=scale,
        output_features={"action": PolicyFeature(FeatureType.ACTION, (5,))},
        device="cpu",
    )
    torch.manual_seed(0)
    theirs = DiffusionConditionalUnet1d(config, global_cond_dim=7)
    ours = UNet(
        observed_dim=7,
        action_dim=5,
        down_dims=dims,
        kernel_size=3,
        n_groups=8,
        time_dim=12,
        scale=scale,
        with_step=False,
    )
    assert count(ours) == count(theirs)
    copy_from_lerobot(ours, theirs, 12)
    x, step, seen = torch.randn(3, 8, 5), torch.tensor([0, 40, 99]), torch.randn(3, 7)
    expected = theirs(x, step, seen)
    # theirs puts an activation before FiLM, ours does not
    found = ours(x, step / 100, ours.observe(functional.mish(seen)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_unet_tells_observations_far_below_the_mean_from_those_near_it():
    torch.manual_seed(0)
    network = UNet(
        observed_dim=7,
        action_dim=5,
        down_dims=(8, 16),
        kernel_size=3,
        n_groups=8,
        time_dim=12,
        scale=True,
        with_step=False,
    )
    far, near = torch.full((1, 7), -3.0), torch.full((1, 7), -0.3)  # on which Mish hardly differs
    assert (functional.mish(far) - functional.mish(near)).abs().max() < 0.01
    assert (network.observe(far) - network.observe(near)).abs().max() > 0.5


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_a_fresh_convolution_is_as_spread_as_torchs():

    for transposed, kind in ((False, torch.nn.Conv1d), (True, torch.nn.ConvTranspose1d)):
        mine, theirs = Convolution(32, 64, 4, transposed=transposed), kind(32, 64, 4)
        for name in ("weight", "bias"):
            largest = getattr(mine, name).abs().max().item()
            assert largest == pytest.approx(getattr(theirs, name).abs().max().item(), rel=0.1)


@pytest.mark.parametrize("kind", ["flow-dit", "flow-mixture"])
def test_the_transformers_blocks_begin_as_the_identity(kind):
    network = make_untrained(kind).network
    h, modulation = torch.randn(2, 5, 16), network.modulation(torch.randn(2, 16)).unflatten(1, (-1, 1, 16))
    torch.testing.assert_close(network.blocks[0](h, modulation[:, :6], None), h)


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_gradients_of_convolutions_over_few_steps_are_those_of_torch(steps, kernel):
    torch.manual_seed(0)
    convolution = Convolution(3, 4, kernel).double()
    x = torch.randn(5, 3, 1, steps, dtype=torch.float64, requires_grad=True)
    parameters = (x, convolution.weight, convolution.bias)
    slope = torch.randn(5, 4, 1, steps, dtype=torch.float64)
    ours = torch.autograd.grad(convolution(x), parameters, slope)
    theirs = torch.autograd.grad(convolution.eval()(x), parameters, slope)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["flow-mlp", "flow-unet", "flow-dit", "flow-mixture"])
def test_a_prediction_depends_on_sample_time_and_observation(kind):
    policy, batch = make_policy(kind), make_batch()
    network, noise, time = policy.network, make_noise(), torch.full((5,), 0.3)
    with torch.no_grad():
        observed = policy.observe(batch)
        base = network(noise, time, observed)
        for changed in ((noise + 0.5, time, observed), (noise, time + 0.3, observed), (noise, time, observed + 0.5)):
            assert (network(*changed) - base).abs().mean() > 1e-3


@pytest.mark.parametrize("kind", ["flow-shortcut-mlp", "flow-shortcut-unet", "flow-shortcut-dit"])
def test_a_shortcuts_prediction_depends_on_the_step(kind):
    policy = make_policy(kind)
    with torch.no_grad():
        observed, time = policy.observe(make_batch()), torch.zeros(5)
        one, half = (policy.network(make_noise(), time, observed, torch.full((5,), d)) for d in (1.0, 0.5))
    assert (one - half).abs().mean() > 1e-3


@pytest.mark.parametrize("kind", ["flow-mlp", "diffusion-unet", "flow-mixture"])
def test_an_observation_is_encoded_once_per_chunk(kind):
    policy, calls = make_policy(kind), []
    policy.encoder.register_forward_hook(lambda *_: calls.append(1))
    policy.predict_action_chunk(make_batch(), num_samples=3)
    assert len(calls) == 1


def test_waves_tell_times_apart():
    times = torch.linspace(0, 1, 101)
    waves = Waves(2.0, -2.0, 8)(times)
    assert waves.shape == (101, 16)
    distance = torch.cdist(waves, waves) + 9 * torch.eye(101)
    assert distance.min() > 0.1
    torch.testing.assert_close(Waves(2.0, -2.0, 8)(times, times), torch.cat((waves, waves), 1))
