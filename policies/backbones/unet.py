"""The 1-D U-Net of Diffusion Policy (Chi et al. 2023), conditioned by FiLM (Perez et al. 2018), laid out for CPUs.

Layers, widths and number of parameters are those of LeRobot's `DiffusionPolicy` with the same options. It differs in
how it computes: chunks are pictures of one row in channels-last order, which needs no reordering around convolutions;
the FiLM layers of all blocks are one matrix product, and its part that depends on the observation is computed once per
chunk. Unlike there, encoded observations pass no activation before FiLM.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional, grad

from robolearn.policies.backbones.waves import Waves


class Convolution(nn.Module):
    """A 1-D convolution over [B, channels, 1, steps] in channels-last order.

    The weight [out, 1, kernel, in] ([in, 1, kernel, out] where transposed) is contiguous in the order in which the
    product reads it.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, transposed: bool = False) -> None:
        """Build it, initialised as torch's own convolution is."""
        super().__init__()
        first, last = (inputs, outputs) if transposed else (outputs, inputs)
        bound = 1 / math.sqrt(last * kernel)
        self.weight = nn.Parameter(torch.empty(first, 1, kernel, last).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.stride, self.transposed = (1, stride), transposed
        # as long as the input at stride 1; half or twice as long at stride 2
        self.padding = (0, (kernel - 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, outputs, 1, steps of the output]."""
        weight = self.weight.permute(0, 3, 1, 2)
        if self.transposed:
            return functional.conv_transpose2d(x, weight, self.bias, self.stride, self.padding)
        if self.training and self.stride == (1, 1) and _is_short(x, kernel=weight.shape[3]):
            short: Tensor = _ShortConvolution.apply(  # type: ignore[no-untyped-call]  # torch gives it no types
                x, self.weight, self.bias, self.padding
            )
            return short
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


def _is_short(x: Tensor, *, kernel: int) -> bool:
    """Whether `_ShortConvolution` is faster: torch's own backward has products of as many terms as there are steps."""
    return x.shape[3] < kernel and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


class _ShortConvolution(torch.autograd.Function):
    """`functional.conv2d` at stride 1, whose gradient of the weights is one product over all samples for each tap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return functional.conv2d(x, weight.permute(0, 3, 1, 2), bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        before = None
        if ctx.needs_input_grad[0]:
            nchw = weight.permute(0, 3, 1, 2)
            before = grad.conv2d_input(x.shape, nchw, gradient, padding=ctx.padding)
        # steps first, so that those that a tap joins lie together
        seen, slopes = (a.squeeze(2).permute(2, 0, 1).contiguous() for a in (x, gradient))
        taps = torch.empty_like(weight)
        for tap in range(weight.shape[2]):
            shift = tap - ctx.padding[1]
            first = max(0, -shift)
            last = max(first, min(len(seen), len(seen) - shift))  # a tap beyond the chunk's ends joins nothing
            joined = slopes[first:last].flatten(0, 1), seen[first + shift : last + shift].flatten(0, 1)
            taps[:, 0, tap] = joined[0].T @ joined[1]
        return before, taps, slopes.sum(dim=(0, 1)), None


class Unit(nn.Module):
    """Convolution, group normalisation, Mish."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, groups: int) -> None:
        """Build it."""
        super().__init__()
        self.groups = groups
        self.convolution = Convolution(inputs, outputs, kernel)
        self.norm = nn.GroupNorm(groups, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, outputs, 1, steps]."""
        # without the checks of the module's own call, which take as long as the arithmetic on one short chunk
        norm = torch.group_norm(self.convolution(x), self.groups, self.norm.weight, self.norm.bias, self.norm.eps)
        return functional.mish(norm)


class Block(nn.Module):
    """Two units with FiLM between them, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, groups: int, scale: bool) -> None:
        """Build it."""
        super().__init__()
        self.outputs, self.scale = outputs, scale
        self.first = Unit(inputs, outputs, kernel=kernel, groups=groups)
        self.second = Unit(outputs, outputs, kernel=kernel, groups=groups)
        self.shortcut = nn.Identity() if inputs == outputs else Convolution(inputs, outputs, 1)

    def forward(self, x: Tensor, film: Iterator[Tensor]) -> Tensor:
        """Return [B, outputs, 1, steps]; takes its scale (unless it has none) and its shift [B, outputs, 1, 1]."""
        h = self.first(x)
        if self.scale:
            scale = next(film)
            h = torch.addcmul(next(film), h, scale)
        else:
            h = h + next(film)
        moved: Tensor = self.second(h) + self.shortcut(x)
        return moved


class UNet(nn.Module):
    """Prediction for a noisy chunk at some time, given encoded observations."""

    def __init__(
        self,
        *,
        observed_dim: int,
        action_dim: int,
        down_dims: Sequence[int],
        kernel_size: int,
        n_groups: int,
        time_dim: int,
        scale: bool,
        with_step: bool,
    ) -> None:
        """Build the network.

        Args:
            observed_dim: width of the encoded observations.
            action_dim: width of an action.
            down_dims: channels of each resolution; each but the first halves the number of steps.
            kernel_size: of the convolutions, odd.
            n_groups: groups of the normalisation; must divide all `down_dims`.
            time_dim: width of the embedding of time.
            scale: whether FiLM also scales, besides shifting.
            with_step: whether the prediction also depends on the sampler's step size.
        """
        super().__init__()
        unit = {"kernel": kernel_size, "groups": n_groups}
        sizes: dict[str, Any] = unit | {"scale": scale}
        self.waves = Waves(2.0, -2.0, time_dim // 2)
        self.time_in = nn.Linear(2 * time_dim if with_step else time_dim, 4 * time_dim)
        self.time_out = nn.Linear(4 * time_dim, time_dim)
        dims = list(down_dims)
        self.down = nn.ModuleList()
        for before, dim in pairwise([action_dim, *dims]):
            self.down += [Block(before, dim, **sizes), Block(dim, dim, **sizes)]
        self.shrink = nn.ModuleList(Convolution(dim, dim, 3, stride=2) for dim in dims[:-1])
        self.middle = nn.ModuleList(Block(dims[-1], dims[-1], **sizes) for _ in range(2))
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for below, dim in pairwise(reversed(dims)):
            self.up += [Block(2 * below, dim, **sizes), Block(dim, dim, **sizes)]
            self.grow.append(Convolution(dim, dim, 4, stride=2, transposed=True))
        self.last = Unit(dims[0], dims[0], **unit)
        self.chunk_out = Convolution(dims[0], action_dim, 1)
        blocks = [*self.down, *self.middle, *self.up]
        self.film_sizes = [block.outputs for block in blocks for _ in range(2 if scale else 1)]
        self.film_seen = nn.Linear(observed_dim, sum(self.film_sizes))
        self.film_time = nn.Linear(time_dim, sum(self.film_sizes), bias=False)

    def observe(self, encoded: Tensor) -> Tensor:
        """Return what FiLM takes from encoded observations [B, observed_dim]; done once per chunk."""
        # no activation before: Mish is not monotonic, it would fold up what lies more than a deviation below the mean
        film: Tensor = self.film_seen(encoded)
        return film

    def forward(self, sample: Tensor, time: Tensor, observed: Tensor, step: Tensor | None = None) -> Tensor:
        """Return the prediction [B, horizon, action_dim]; arguments as those of `ResidualMLP.forward`."""
        embedded = self.time_out(functional.mish(self.time_in(self.waves(time, step))))
        film = observed + self.film_time(functional.mish(embedded))
        films = iter(film[:, :, None, None].split(self.film_sizes, dim=1))
        x = sample.transpose(1, 2).unsqueeze(2)
        skips = []
        for level, (first, second) in enumerate(_pairs(self.down)):
            x = second(first(x, films), films)
            skips.append(x)
            x = self.shrink[level](x) if level < len(self.shrink) else x
        for block in self.middle:
            x = block(x, films)
        for (first, second), grow in zip(_pairs(self.up), self.grow, strict=True):
            x = grow(second(first(torch.cat((x, skips.pop()), dim=1), films), films))
        prediction: Tensor = self.chunk_out(self.last(x))
        return prediction.squeeze(2).transpose(1, 2)


def _pairs(blocks: nn.ModuleList) -> list[tuple[nn.Module, nn.Module]]:
    return list(zip(blocks[::2], blocks[1::2], strict=True))
