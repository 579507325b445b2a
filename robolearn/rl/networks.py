"""Small networks of the RL algorithms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.config import ActorCriticConfig, OffPolicyConfig


class EnsembleMLP(nn.Module):
    """E multi-layer perceptrons with LayerNorm, evaluated as one batched product.

    LayerNorm bounds the critic's extrapolation to actions outside the data (Ball et al., "Efficient Online
    RL with Offline Data", 2023).

    Attributes:
        parts: weights of each layer, then biases of each; the same as `parameters`, without the time that takes.
    """

    def __init__(
        self, inputs: int, outputs: int, *, hidden: int, layers: int = 2, heads: int = 1, layer_norm: bool = True
    ) -> None:
        """Make `heads` networks with `layers` hidden layers of `hidden` units."""
        super().__init__()
        sizes = [inputs, *[hidden] * layers, outputs]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for a, b in itertools.pairwise(sizes):
            bound = 1 / math.sqrt(a)
            self.weights.append(nn.Parameter(torch.empty(heads, a, b).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(heads, 1, b).uniform_(-bound, bound)))
        self.heads, self.layer_norm = heads, layer_norm
        self.parts = (*self.weights, *self.biases)

    def forward(self, *x: Tensor, heads: Tensor | None = None) -> Tensor:
        """[batch, inputs] -> [heads, batch, outputs].

        The inputs may come in several pieces [batch, n]: gradients are computed of those pieces alone that want one.
        `heads` are the indices of the networks that are asked for, all when None.
        """
        parts = self.parts if heads is None else tuple(part[heads] for part in self.parts)
        fits = x[0].device.type == "cpu" and x[0].dtype == torch.float32 and not torch.compiler.is_compiling()
        if self.layer_norm and fits:
            if not torch.is_grad_enabled():
                return _fused(x, parts)[0]
            y: Tensor = _Fused.apply(len(x), *x, *parts)  # type: ignore[no-untyped-call]
            return y
        return _plain(torch.cat(x, dim=-1), parts, layer_norm=self.layer_norm)

    def zero_last(self) -> None:
        """Make every output zero until the first update."""
        nn.init.zeros_(self.weights[-1])
        nn.init.zeros_(self.biases[-1])


def _plain(x: Tensor, parts: Sequence[Tensor], *, layer_norm: bool) -> Tensor:
    """The layers one after the other; `parts` are the weights of each, then the biases of each."""
    layers = len(parts) // 2
    y = x.expand(len(parts[0]), *x.shape)
    for k, (weight, bias) in enumerate(zip(parts[:layers], parts[layers:], strict=True)):
        y = torch.baddbmm(bias, y, weight)
        if k < layers - 1:
            y = functional.silu(functional.layer_norm(y, y.shape[-1:]) if layer_norm else y)
    return y


def _fused(x: Sequence[Tensor], parts: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """`_plain` with layer norm in fewer passes over memory, see `robolearn.rl.kernels`; also what its gradient needs.

    That is for each hidden layer what it was given, its weights, LN(y) and the scale in it; then the last layer's input
    and weights. Products of hidden layers are in bfloat16 where `torch.set_float32_matmul_precision("medium")` allows.
    """
    from robolearn.rl.kernels import activate

    layers, narrow = len(parts) // 2, torch.get_float32_matmul_precision() == "medium"
    together = torch.cat(tuple(x), dim=-1) if len(x) > 1 else x[0]
    y, kept = together.expand(len(parts[0]), *together.shape), list[Tensor]()
    for k, (weight, bias) in enumerate(zip(parts[: layers - 1], parts[layers:-1], strict=True)):
        before, rates = (y.bfloat16(), weight.bfloat16()) if narrow and k > 0 else (y, weight)
        normed = torch.bmm(before, rates).float()
        y, scale = torch.empty_like(normed), normed.new_empty(normed.shape[:2])
        activate(normed.numpy(), bias.detach().numpy()[:, 0], y.numpy(), scale.numpy())
        kept += [before, rates, normed, scale]
    weight, bias = parts[layers - 1], parts[-1]
    kept += [y, weight]
    if weight.shape[-1] == 1:  # a product of matrices is slow where one has a single column
        return (y * weight.mT).sum(dim=-1, keepdim=True) + bias, kept
    return torch.baddbmm(bias, y, weight), kept


class _Fused(torch.autograd.Function):
    """`_fused` with its gradient."""

    @staticmethod
    def forward(ctx: Any, pieces: int, *given: Tensor) -> Tensor:
        y, kept = _fused(given[:pieces], given[pieces:])
        ctx.save_for_backward(*kept)
        ctx.widths = [piece.shape[-1] for piece in given[:pieces]]
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from robolearn.rl.kernels import activate_backward

        pieces = len(ctx.widths)
        of_x, of_parts = ctx.needs_input_grad[1 : pieces + 1], ctx.needs_input_grad[pieces + 1 :]
        *hidden, last, weight = ctx.saved_tensors
        learning, one = any(of_parts), grad.shape[-1] == 1
        of_weights, of_biases = [], []
        if learning:
            of_weights.append((last * grad).sum(dim=1)[..., None] if one else torch.bmm(last.mT, grad))
            of_biases.append(grad.sum(dim=1, keepdim=True))
        g = grad * weight.mT if one else torch.bmm(grad, weight.mT)
        for k in range(len(hidden) // 4 - 1, -1, -1):
            before, weight, normed, scale = hidden[4 * k : 4 * k + 4]
            of_bias = g.new_empty(g.shape[0], 1, g.shape[2])
            activate_backward(normed.numpy(), scale.numpy(), g.numpy(), of_bias.numpy()[:, 0])
            slope = g.to(before.dtype)
            if learning:
                of_weights.append(torch.bmm(before.mT, slope).float())
                of_biases.append(of_bias)
            if k > 0:
                g = torch.bmm(slope, weight.mT).float()
        rows = weight.split(ctx.widths, dim=1)
        of_pieces = [torch.bmm(g, w.mT).sum(dim=0) if n else None for w, n in zip(rows, of_x, strict=True)]
        return (None, *of_pieces, *(of_weights[::-1] + of_biases[::-1] if learning else [None] * len(of_parts)))


def critics(inputs: int, config: OffPolicyConfig) -> EnsembleMLP:
    """An ensemble of values of states and actions [B, inputs]."""
    return EnsembleMLP(inputs, 1, hidden=config.hidden, heads=config.num_critics, layer_norm=config.layer_norm)


def optimizers(
    net: nn.Module, critic: nn.Module, observer: nn.Module, config: ActorCriticConfig
) -> dict[str, torch.optim.Optimizer]:
    """Those of an actor's network and of its critics; what pictures show is learned from the values alone (DrQ-v2)."""
    valued = [*critic.parameters(), *observer.parameters()]
    return {
        "actor": torch.optim.Adam(net.parameters(), lr=config.actor_lr, fused=True),
        "critic": torch.optim.Adam(valued, lr=config.critic_lr, fused=True),
    }


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of Adam down a loss, with its gradient cut to norm 1.

    Args:
        optimizer: `torch.optim.Adam` with one group of parameters; those that the loss does not depend on stay as they
            are.
        loss: a scalar.
    """
    (group,) = optimizer.param_groups
    parameters = group["params"]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    pairs = [(p, gradient) for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]
    learned, slopes = [p for p, _ in pairs], [gradient for _, gradient in pairs]
    norm = torch.stack(torch._foreach_norm(slopes)).norm()
    _adam(optimizer, learned, slopes, divisor=norm.clamp_min(1.0))


@torch.no_grad()
def _adam(optimizer: torch.optim.Optimizer, parameters: list[Any], gradients: list[Tensor], *, divisor: Tensor) -> None:
    """A step with gradients / divisor: what a fused Adam calls, without its bookkeeping in Python."""
    (group,) = optimizer.param_groups
    for parameter in parameters:
        if not optimizer.state[parameter]:
            zeros = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {"step": torch.tensor(0.0), **zeros}
    states = [optimizer.state[parameter] for parameter in parameters]
    means, squares, steps = ([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq", "step"))
    torch._foreach_add_(steps, 1)
    beta1, beta2 = group["betas"]
    torch._fused_adam_(
        parameters,
        gradients,
        means,
        squares,
        [],
        steps,
        lr=group["lr"],
        beta1=beta1,
        beta2=beta2,
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=False,
        maximize=False,
        grad_scale=divisor,
    )


@contextmanager
def frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Compute no gradient of these parameters."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@torch.no_grad()
def follow(target: nn.Module | Sequence[Tensor], source: nn.Module | Sequence[Tensor], tau: float) -> None:
    """Move a target towards its source by a share of the way: networks, or their parameters."""
    targets, sources = (list(one.parameters() if isinstance(one, nn.Module) else one) for one in (target, source))
    if targets:
        torch._foreach_lerp_(targets, sources, tau)
