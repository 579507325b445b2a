"""From observations to one vector: state channels as they are, pictures through a network of their own.

All networks are trained from scratch; nothing is downloaded. A condition, such as an instruction, can change what is
looked for in a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.errors import UserError
from robolearn.networks.attention import TransformerBlock
from robolearn.networks.film import Film, Stack

CNN_CHANNELS, CNN_KERNELS, CNN_STRIDES = (16, 32, 64, 64), (5, 3, 3, 3), (2, 2, 2, 1)
VIT_PATCH, VIT_DIM, VIT_HEADS, VIT_BLOCKS = 12, 128, 4, 4
GROUP = 16  # channels that are normalised together


class ObservationEncoder(nn.Module):
    """Encodes a history of observations as one vector per sample."""

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        n_obs_steps: int,
        vision: str,
        vision_dim: int,
        crop_ratio: float,
        condition_dim: int = 0,
    ) -> None:
        """Build one picture encoder for each picture channel.

        Args:
            shapes: of one frame of each channel: (dim,), or (height, width, 3) for pictures.
            n_obs_steps: frames of history.
            vision: one of `VISION`.
            vision_dim: width of an encoded picture.
            crop_ratio: side of the crop that is encoded, as a share of the picture's.
            condition_dim: width of the condition; 0 for none.
        """
        super().__init__()
        self.keys = tuple(shapes)
        self.pictures = nn.ModuleDict(
            {
                _module_name(key): PictureEncoder(
                    (shape[0], shape[1]), vision, dim=vision_dim, crop_ratio=crop_ratio, condition_dim=condition_dim
                )
                for key, shape in shapes.items()
                if len(shape) == 3
            }
        )
        widths = [vision_dim if len(shape) == 3 else shape[0] for shape in shapes.values()]
        self.width = n_obs_steps * sum(widths)

    def forward(self, observations: Sequence[Tensor], condition: Tensor | None = None) -> Tensor:
        """Return [B, width].

        Args:
            observations: in the order of the channels, normalised state [B, n_obs_steps, dim] and pictures, either
                uint8 [B, n_obs_steps, height, width, 3] or, as LeRobot gives them, floats in [0, 1]
                [B, n_obs_steps, 3, height, width].
            condition: [B, condition_dim], if there is one.
        """
        parts = []
        for key, observation in zip(self.keys, observations, strict=True):
            if (name := _module_name(key)) in self.pictures:
                observation = self.pictures[name](observation, condition)
            parts.append(observation.flatten(1))
        return torch.cat(parts, dim=1)


class PictureEncoder(nn.Module):
    """Crops (anywhere in training, the middle in evaluation), scales to [-1, 1] and encodes pictures."""

    def __init__(
        self, size: tuple[int, int], kind: str, *, dim: int, crop_ratio: float, condition_dim: int = 0
    ) -> None:
        """Build it for pictures of `size` (height, width); see `ObservationEncoder` for the rest."""
        super().__init__()
        self.size = size
        self.crop = (round(crop_ratio * size[0]), round(crop_ratio * size[1]))
        self.body = VISION[kind](self.crop, condition_dim)
        self.out = nn.Linear(_width(self.body, self.crop, condition_dim), dim)

    def forward(self, pictures: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return [B, n_obs_steps, dim] from pictures and condition as in `ObservationEncoder.forward`."""
        if pictures.dtype != torch.uint8:
            pictures = pictures.movedim(2, -1)
        if pictures.shape[2:] != (*self.size, 3):
            raise ValueError(f"pictures have shape {tuple(pictures.shape)}, expected [B, T, {self.size}, 3]")
        cropped = self._cropped(pictures)
        scale = 127.5 if pictures.dtype == torch.uint8 else 0.5
        # the channels' axis stays last in memory, which convolutions prefer
        flat = cropped.flatten(0, 1).movedim(-1, 1).to(self.out.weight.dtype) / scale - 1
        told = None if condition is None else condition.repeat_interleave(cropped.shape[1], dim=0)
        encoded: Tensor = self.out(self.body(flat, told))
        return encoded.unflatten(0, cropped.shape[:2])

    def _cropped(self, pictures: Tensor) -> Tensor:
        """Cut [B, T, *crop, 3] out; all frames of a sample at the same place."""
        if self.crop == self.size:
            return pictures
        spare = [whole - part for whole, part in zip(self.size, self.crop, strict=True)]
        if not self.training:
            top, left = spare[0] // 2, spare[1] // 2
            return pictures[:, :, top : top + self.crop[0], left : left + self.crop[1]]
        batch, frames, device = *pictures.shape[:2], pictures.device
        rows, columns = (
            torch.randint(0, room + 1, (batch,), device=device)[:, None] + torch.arange(part, device=device)
            for room, part in zip(spare, self.crop, strict=True)
        )
        sample, frame = torch.arange(batch, device=device), torch.arange(frames, device=device)
        return pictures[
            sample[:, None, None, None], frame[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]
        ]


class SpatialSoftmax(nn.Module):
    """Expected place (x, y) in [-1, 1] of each channel's softmax over the picture (Levine et al. 2016)."""

    def forward(self, features: Tensor) -> Tensor:
        """Return [B, 2 channels] from feature maps [B, channels, height, width]."""
        attention = torch.softmax(features.flatten(2).float(), dim=2).unflatten(2, features.shape[2:])
        y, x = (torch.linspace(-1, 1, size, device=features.device) for size in features.shape[2:])
        return torch.cat(((attention.sum(2) * x).sum(2), (attention.sum(3) * y).sum(2)), dim=1)


class Patches(nn.Module):
    """Cuts pictures into patches, one token each; pixels beyond whole patches are ignored."""

    def __init__(self, size: tuple[int, int]) -> None:
        """Build it for pictures of `size`."""
        super().__init__()
        self.patches = nn.Conv2d(3, VIT_DIM, VIT_PATCH, stride=VIT_PATCH)
        count = (size[0] // VIT_PATCH) * (size[1] // VIT_PATCH)
        self.place = nn.Parameter(0.02 * torch.randn(count, VIT_DIM))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return [B, patches, VIT_DIM] from [B, 3, height, width]."""
        tokens: Tensor = self.patches(pictures).flatten(2).transpose(1, 2) + self.place
        return tokens


class MeanToken(nn.Module):
    """The mean of normalised tokens."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return [B, dim] from [B, tokens, dim]."""
        return functional.layer_norm(tokens, tokens.shape[2:]).mean(1)


def _vit(size: tuple[int, int], condition_dim: int) -> Stack:
    """A small ViT (Dosovitskiy et al. 2021), conditioned behind every block."""
    layers: list[nn.Module] = [Patches(size)]
    for _ in range(VIT_BLOCKS):
        layers += [TransformerBlock(VIT_DIM, VIT_HEADS), *_film(VIT_DIM, condition_dim)]
    return Stack(*layers, MeanToken())


def _cnn(size: tuple[int, int], condition_dim: int) -> Stack:
    """Four convolutions, conditioned behind every norm."""
    layers: list[nn.Module] = []
    before = 3
    for channels, kernel, stride in zip(CNN_CHANNELS, CNN_KERNELS, CNN_STRIDES, strict=True):
        convolution = nn.Conv2d(before, channels, kernel, stride=stride, padding=kernel // 2)
        norm = nn.GroupNorm(channels // GROUP, channels)
        layers += [convolution, norm, *_film(channels, condition_dim), nn.SiLU()]
        before = channels
    return Stack(*layers, SpatialSoftmax())


def _resnet(name: str) -> Callable[[tuple[int, int], int], Stack]:
    """A torchvision ResNet (He et al. 2016), conditioned behind every stage.

    Its norms are of groups, which moving averages of weights do not spoil.
    """

    def build(size: tuple[int, int], condition_dim: int) -> Stack:
        import torchvision  # type: ignore[import-untyped]

        def norm(channels: int) -> nn.Module:
            return nn.GroupNorm(channels // GROUP, channels)

        *stem, one, two, three, four, _, _ = torchvision.models.get_model(
            name, weights=None, norm_layer=norm
        ).children()
        layers = list(stem)
        for stage in (one, two, three, four):
            layers += [stage, *_film(stage[-1].conv2.out_channels, condition_dim)]
        return Stack(*layers, SpatialSoftmax())

    return build


def _film(channels: int, condition_dim: int) -> list[nn.Module]:
    """A layer that the condition moves, where there is one."""
    return [Film(channels, condition_dim)] if condition_dim else []


# from the size (height, width) of the crops and the width of the condition
VISION: dict[str, Callable[[tuple[int, int], int], Stack]] = {
    "cnn": _cnn,
    "vit": _vit,
    "resnet18": _resnet("resnet18"),
    "resnet34": _resnet("resnet34"),
}


def _width(body: Stack, size: tuple[int, int], condition_dim: int) -> int:
    with torch.no_grad():
        return int(body(torch.zeros(1, 3, *size), torch.zeros(1, condition_dim)).shape[1])


def _module_name(key: str) -> str:
    return key.replace(".", "_")


def require_large_enough(size: tuple[int, int], *, vision: str, crop_ratio: float, key: str) -> None:
    """Check that a picture's crop holds a patch, or leaves a map of more than one place after the strides.

    Raises:
        UserError: naming the channel.
    """
    least = {"vit": VIT_PATCH, "cnn": 16}.get(vision, 64)
    if min(size) * crop_ratio < least:
        raise UserError(
            f"channel '{key}' has pictures of {size[0]} x {size[1]} pixels, of which crop_ratio leaves too little for "
            f"'{vision}': give at least {least} pixels"
        )
