"""Picture encoders: crops, scales, networks."""

import pytest
import torch
from toys import CAMERA, N_OBS, PICTURE, make_batch, make_policy

from robolearn.networks.encoders import VISION, ObservationEncoder, PictureEncoder, SpatialSoftmax


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow if k == "resnet34" else ()) for k in VISION])
def test_every_network_encodes_and_learns(kind):
    torch.manual_seed(0)
    encoder = PictureEncoder((72, 64), kind, dim=5, crop_ratio=0.9)
    pictures = torch.randint(0, 256, (3, 2, 72, 64, 3), dtype=torch.uint8)
    encoded = encoder(pictures)
    assert encoded.shape == (3, 2, 5)
    encoded.square().sum().backward()
    assert [name for name, p in encoder.named_parameters() if not p.grad.any()] == []
    assert (encoded[0, 0] - encoded[1, 0]).abs().max() > 1e-6


@pytest.mark.parametrize("kind", ["resnet18", "cnn"])
def test_batches_do_not_mix_in_the_norms(kind):
    encoder = PictureEncoder((64, 64), kind, dim=5, crop_ratio=1.0)
    assert not any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in encoder.modules())
    pictures = torch.randint(0, 256, (3, 1, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(encoder(pictures)[:1], encoder(pictures[:1]), atol=1e-5, rtol=1e-4)


def coordinates(batch, frames=2):
    """Pictures whose pixels hold their row, their column and the number of their frame."""
    height, width, _ = PICTURE
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack((rows, columns, torch.zeros_like(rows)), dim=-1).to(torch.uint8)
    pictures = pixels.expand(batch, frames, *PICTURE).clone()
    pictures[..., 2] = torch.arange(batch * frames, dtype=torch.uint8).view(batch, frames, 1, 1)
    return pictures


def test_training_crops_anywhere_but_all_frames_of_a_sample_alike():
    encoder = PictureEncoder(PICTURE[:2], "cnn", dim=5, crop_ratio=0.5).train()
    pictures = coordinates(200, 1).expand(200, 2, *PICTURE)
    cut = encoder._cropped(pictures)
    assert cut.shape == (200, 2, 18, 20, 3)
    corner = cut[:, :, 0, 0, :2].int()
    assert torch.equal(corner[:, 0], corner[:, 1])
    assert corner[:, 0, 0].unique().tolist() == list(range(19))
    assert corner[:, 0, 1].unique().tolist() == list(range(21))
    # each crop is a piece of its own picture
    offset = cut[..., :2].int() - corner[:, :, None, None]
    assert torch.equal(offset[..., 0], torch.arange(18, dtype=torch.int32)[:, None].expand(200, 2, 18, 20))
    assert torch.equal(offset[..., 1], torch.arange(20, dtype=torch.int32).expand(200, 2, 18, 20))
    assert torch.equal(cut[:, 0, 3, 4, 2], torch.arange(200, dtype=torch.uint8))


def test_evaluation_crops_the_middle():
    encoder = PictureEncoder(PICTURE[:2], "cnn", dim=5, crop_ratio=0.5).eval()
    cut = encoder._cropped(coordinates(2))
    assert cut[0, 0, 0, 0, :2].tolist() == [9, 10]
    assert cut[0, 0, -1, -1, :2].tolist() == [26, 29]


def test_pixels_become_minus_one_to_one():
    encoder, seen = PictureEncoder((16, 16), "cnn", dim=5, crop_ratio=1.0), []
    encoder.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pictures = torch.randint(0, 256, (2, 1, 16, 16, 3), dtype=torch.uint8)
    encoder(pictures)
    encoder(pictures.movedim(-1, 2) / 255)  # as LeRobot gives them
    expected = pictures[:, 0].movedim(-1, 1) / 255 * 2 - 1
    for got in seen:
        torch.testing.assert_close(got, expected)


def test_the_softmax_finds_a_bright_spot():
    features = torch.zeros(1, 2, 5, 9)
    features[0, 0, 4, 2] = features[0, 1, 2, 8] = 100.0
    torch.testing.assert_close(SpatialSoftmax()(features), torch.tensor([[-0.5, 1.0, 1.0, 0.0]]))


def test_pictures_of_another_size_are_refused():
    policy, batch = make_policy("flow-mlp", camera=True), make_batch(camera=True)
    with pytest.raises(ValueError, match="pictures have shape"):
        policy.predict_action_chunk(batch | {CAMERA: batch[CAMERA][:, :, 1:]})


def test_states_pass_as_they_are_before_each_other():
    encoder = ObservationEncoder({"a": (2,), "b": (3,)}, n_obs_steps=N_OBS, vision="cnn", vision_dim=4, crop_ratio=0.9)
    a, b = torch.randn(4, N_OBS, 2), torch.randn(4, N_OBS, 3)
    assert torch.equal(encoder([a, b]), torch.cat((a.flatten(1), b.flatten(1)), 1))
    assert encoder.width == 10
    assert not list(encoder.parameters())
