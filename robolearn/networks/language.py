"""Instructions in networks: words to one vector.

Everything is trained from scratch on the phrasings of the dataset; `robolearn.language` makes ids of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.language import PADDING
from robolearn.networks.attention import TransformerBlock


class SentenceEncoder(nn.Module):
    """A small transformer over the words of an instruction, then attention pooling with a learned query.

    A word is the mean of the embeddings of its ids (Bojanowski et al. 2017). A learned token before the first word
    keeps an empty instruction defined.
    """

    def __init__(self, *, buckets: int, max_words: int, dim: int, num_blocks: int, num_heads: int) -> None:
        """Build it; `buckets` and `max_words` are the tokeniser's, `num_heads` must divide `dim`."""
        super().__init__()
        self.pieces = nn.Embedding(1 + buckets, dim)
        nn.init.normal_(self.pieces.weight, std=0.02)  # small, so that words never trained on say little
        self.start = nn.Parameter(0.02 * torch.randn(dim))
        self.place = nn.Parameter(0.02 * torch.randn(1 + max_words, dim))
        self.blocks = nn.ModuleList(TransformerBlock(dim, num_heads) for _ in range(num_blocks))
        self.query = nn.Linear(dim, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Return [B, dim] from ids [B, words, pieces] of up to `max_words`."""
        there = ids != PADDING
        share = there / there.sum(2, keepdim=True).clamp(min=1)
        words = (share[:, :, None] @ self.pieces(ids))[:, :, 0]
        h = torch.cat((self.start.expand(ids.shape[0], 1, -1), words), dim=1) + self.place[: 1 + ids.shape[1]]
        seen = functional.pad(there.any(2), (1, 0), value=True)
        for block in self.blocks:
            h = block(h, seen[:, None, None])
        h = functional.layer_norm(h, h.shape[2:])
        weights = torch.softmax(self.query(h)[..., 0].masked_fill(~seen, -torch.inf), dim=1)
        return (weights[..., None] * h).sum(1)


def without_padding(ids: Tensor) -> Tensor:
    """Return ids [B, max_words, pieces] without the words and pieces that no instruction has; the first ones stay."""
    there = ids != PADDING
    words, pieces = (int(there.any(0).any(1 - axis).sum().clamp(min=1)) for axis in (0, 1))
    return ids[:, :words, :pieces]


def without_some(ids: Tensor, *, words: float, pieces: float) -> Tensor:
    """Return ids [B, max_words, pieces] of which shares of the words and of the pieces are left out at random."""
    keep_word = torch.rand(ids.shape[:2], device=ids.device)[..., None] >= words
    keep_piece = torch.rand(ids.shape, device=ids.device) >= pieces
    return torch.where(keep_word & keep_piece, ids, PADDING)
