"""The graph that real-time chunking needs: a velocity together with the pull towards another chunk.

With the clean chunk f(x) = x + (1 - t) v(x, t) and its Jacobian J, the pull is J^T W (Y - f(x)) (equation 2 of Black et
al. 2025, see `robolearn.inpainting`). ONNX has no derivatives, so the product with J^T is traced into plain operators.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from robolearn.errors import UserError
from robolearn.rl.networks import frozen

TRIES = 8  # random inputs of the comparison
Sizes = list[int]


class GuidedGraph(nn.Module):
    """(observed, sample, time[, step], target, mask) -> (velocity, pull)."""

    def __init__(self, denoiser: nn.Module, *, mixed: bool) -> None:
        """Wrap a denoiser that predicts velocities; of a mixture of horizons the fused one counts."""
        super().__init__()
        self.denoiser, self.mixed = denoiser, mixed
        self.training = denoiser.training

    def forward(self, observed: Tensor, sample: Tensor, time: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        """Return both [B, horizon, action_dim]; target of that shape, mask [B, horizon]."""
        *step, target, mask = rest

        def clean(x: Tensor) -> tuple[Tensor, Tensor]:
            predicted = self.denoiser(observed, x, time, *step)
            velocity = predicted[0] if self.mixed else predicted
            return x + (1 - time)[:, None, None] * velocity, velocity

        derived: Any = torch.func.vjp(clean, sample, has_aux=True)
        found, pull, velocity = derived
        (correction,) = pull(mask[:, :, None] * (target - found))
        return velocity, correction


def traced(module: GuidedGraph, inputs: tuple[Tensor, ...]) -> torch.fx.GraphModule:
    """Return the graph as forward operators alone, for the shapes of `inputs`, whose batch is fixed with them."""
    table: dict[Any, Any] = dict(core_aten_decompositions())
    table[torch.ops.aten.convolution_backward.default] = _convolution_backward
    # attention in plain operators: the fused one has a derivative that ONNX does not know
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with frozen(learned), sdpa_kernel(SDPBackend.MATH):
        return make_fx(lambda *given: module(*given), decomposition_table=table)(*inputs)


def require_same(path: Path, module: GuidedGraph, inputs: Mapping[str, Tensor], *, atol: float = 1e-4) -> None:
    """Compare an exported graph with its module on random inputs of the shapes of `inputs`.

    Raises:
        UserError: they differ by more than `atol`, in the sampler's units, or are not finite.
    """
    generator = torch.Generator().manual_seed(0)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for _ in range(TRIES):
        drawn = {name: torch.rand(x.shape, generator=generator) for name, x in inputs.items()}
        drawn["sample"] = torch.randn(inputs["sample"].shape, generator=generator)
        found = session.run(None, {name: x.numpy() for name, x in drawn.items()})
        pairs = zip(found, module(*drawn.values()), strict=True)
        difference = max(float((torch.from_numpy(x) - y).abs().max()) for x, y in pairs)
        if not difference <= atol:
            raise UserError(
                f"the graph for real-time chunking differs from the policy by {difference:.2g} (allowed {atol:.2g}): "
                "export with rtc=false or report a bug"
            )


def _convolution_backward(
    gradient: Tensor,
    given: Tensor,
    weight: Tensor,
    bias_sizes: Sizes | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
    wanted: list[bool],
) -> tuple[Tensor, None, None]:
    """The derivative by the input: the transposed convolution, or that of a transposed one."""
    assert wanted == [True, False, False], "the weights are constants"
    common = (gradient, weight, None, stride, padding, dilation)
    if transposed:
        return torch.ops.aten.convolution(*common, False, [0] * len(stride), groups), None, None
    # what a stride leaves over at the end
    over = [
        given.shape[2 + i] - ((gradient.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + reach + 1)
        for i, reach in enumerate(d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True))
    ]
    return torch.ops.aten.convolution(*common, True, over, groups), None, None
