"""Self-attention, shared by the transformers over actions, pictures and words."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017)."""

    def __init__(self, dim: int, heads: int) -> None:
        """Build it; `heads` must divide `dim`."""
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(dim, 3 * dim)
        self.outputs = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return [B, tokens, dim].

        Args:
            x: [B, tokens, dim].
            mask: [tokens, tokens], or [B, 1, 1, tokens] for one row per sample: true where a row's token sees a
                column's.
        """
        query, key, value = self.inputs(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed: Tensor = self.outputs(seen.transpose(1, 2).flatten(2))
        return mixed


class TransformerBlock(nn.Module):
    """Attention and feed-forward layers behind layer norms (Xiong et al. 2020)."""

    def __init__(self, dim: int, heads: int) -> None:
        """Build it; `heads` must divide `dim`."""
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.attention = SelfAttention(dim, heads)
        self.feed_forward = feed_forward(dim)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return h [B, tokens, dim] moved by the block; `mask` as in `SelfAttention.forward`."""
        h = h + self.attention(self.norms[0](h), mask)
        moved: Tensor = h + self.feed_forward(self.norms[1](h))
        return moved


def feed_forward(dim: int) -> nn.Sequential:
    """The two layers that follow attention."""
    return nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim))
